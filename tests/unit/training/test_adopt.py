import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_steps import as_parameters, random_gradients, run_steps

from blossomtune.training.adopt import Adopt


def reference_adopt(start, gradients, lr, beta1, beta2, eps, decay):
    """Compute algorithm 2 of arXiv 2411.02853 in float64."""
    theta, m, v = np.array(start, float), np.zeros_like(start, float), None
    for t, gradient in enumerate(gradients):
        g = np.array(gradient, float)
        if t == 0:
            v = g * g
            continue
        limit = t**0.25
        m = beta1 * m + (1 - beta1) * np.clip(g / np.maximum(np.sqrt(v), eps), -limit, limit)
        theta = theta - lr * (m + decay * theta)
        v = beta2 * v + (1 - beta2) * g * g
    return theta


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    num_steps=st.integers(1, 25),
    lr=st.floats(1e-4, 1.0),
    beta1=st.floats(0, 0.99),
    beta2=st.floats(0.5, 0.9999),
    eps=st.floats(1e-8, 10),
    decay=st.sampled_from([0.0, 0.1]),
)
def test_adopt_matches_the_paper(seed, num_steps, lr, beta1, beta2, eps, decay):
    start, gradients = random_gradients(seed, num_steps)
    for gradient in gradients[:3]:
        gradient[0][0] = 0.0  # like the first gradients of LoRA's A
    parameters = as_parameters(start)
    optimizer = Adopt(parameters, lr, (beta1, beta2), eps, decay)
    run_steps(optimizer, parameters, gradients)
    for i, parameter in enumerate(parameters):
        expected = reference_adopt(
            start[i], [g[i] for g in gradients], lr, beta1, beta2, eps, decay
        )
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def test_adopt_counts_steps_from_the_first_gradient_of_each_parameter():
    start, gradients = random_gradients(1, 6)
    late = [[first, None if t < 3 else second] for t, (first, second) in enumerate(gradients)]
    parameters = as_parameters(start)
    run_steps(Adopt(parameters, 0.1), parameters, late)
    defaults = [0.1, 0.9, 0.9999, 1e-6, 0.0]
    for i, used in enumerate((gradients, gradients[3:])):
        expected = reference_adopt(start[i], [g[i] for g in used], *defaults)
        np.testing.assert_allclose(parameters[i].detach().numpy(), expected, rtol=1e-9)


def test_adopt_clips_the_first_gradient_after_zero_gradients():
    parameter = torch.nn.Parameter(torch.zeros(1))
    run_steps(Adopt([parameter], 1.0), [parameter], [[torch.zeros(1)], [torch.ones(1)]])
    assert parameter.item() == pytest.approx(-0.1)  # 1 - beta1, not 1e5


def test_adopt_calls_a_closure_with_gradients():
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = Adopt([parameter], 0.1)

    def closure():
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    assert [float(optimizer.step(closure).detach()) for _ in range(2)] == [2.0, 2.0]
    assert torch.allclose(parameter, torch.full((2,), 0.99))

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.errors import UserError
from blossomtune.training.adopt import Adopt
from blossomtune.training.optimizer_state import get_optimizer_state, set_optimizer_state


def paper(start, gradients, lr, beta1, beta2, eps, decay):
    """ADOPT in float64, as arXiv 2411.02853 has it."""
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


def stepped(optimizer, parameters, gradients):
    for each in gradients:
        for parameter, gradient in zip(parameters, each, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
        optimizer.step()


def random(seed, steps, shapes=((3, 4), (5,))):
    generator = torch.Generator().manual_seed(seed)
    start = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    gradients = [
        [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        for _ in range(steps)
    ]
    return start, gradients


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    steps=st.integers(1, 25),
    lr=st.floats(1e-4, 1.0),
    beta1=st.floats(0, 0.99),
    beta2=st.floats(0.5, 0.9999),
    eps=st.floats(1e-8, 10),
    decay=st.sampled_from([0.0, 0.1]),
)
def test_adopt_is_what_the_paper_says(seed, steps, lr, beta1, beta2, eps, decay):
    start, gradients = random(seed, steps)
    for gradient in gradients[:3]:
        gradient[0][0] = 0.0  # as LoRA's A begins
    parameters = [torch.nn.Parameter(value.clone()) for value in start]
    optimizer = Adopt(parameters, lr, (beta1, beta2), eps, decay)
    stepped(optimizer, parameters, gradients)
    for i, parameter in enumerate(parameters):
        expected = paper(start[i], [g[i] for g in gradients], lr, beta1, beta2, eps, decay)
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def test_adopt_counts_the_steps_of_each_parameter():
    """A parameter whose first gradient comes later begins with its step 0 then."""
    start, gradients = random(1, 6)
    late = [[first, None if t < 3 else second] for t, (first, second) in enumerate(gradients)]
    parameters = [torch.nn.Parameter(value.clone()) for value in start]
    stepped(Adopt(parameters, 0.1), parameters, late)
    rest = [0.1, 0.9, 0.9999, 1e-6, 0.0]
    for i, used in enumerate((gradients, gradients[3:])):
        expected = paper(start[i], [g[i] for g in used], *rest)
        np.testing.assert_allclose(parameters[i].detach().numpy(), expected, rtol=1e-9)


def test_after_gradients_of_zero_adopt_moves_no_further_than_its_limit():
    parameter = torch.nn.Parameter(torch.zeros(1))
    stepped(Adopt([parameter], 1.0), [parameter], [[torch.zeros(1)], [torch.ones(1)]])
    assert parameter.item() == pytest.approx(-0.1)  # 1 − β₁, not 1e5


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


OPTIMIZERS = {
    "adopt": lambda p: Adopt(p, 0.01, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
    "fused adamw": lambda p: torch.optim.AdamW(p, 0.01, fused=True),
    "amsgrad": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    "nadam": lambda p: torch.optim.NAdam(p, 0.01),
    "sgd": lambda p: torch.optim.SGD(p, 0.01),
    "momentum": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, centered=True, momentum=0.5),
    "adafactor": lambda p: _adafactor(p),
}


def _adafactor(parameters):
    from transformers.optimization import Adafactor  # counts its steps in plain numbers

    return Adafactor(parameters, 0.01, relative_step=False, scale_parameter=False)


def float32(seed, steps):
    start, gradients = random(seed, steps)
    return [v.float() for v in start], [[g.float() for g in each] for each in gradients]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("way", ["keep", "state_dict"])
def test_an_optimizer_goes_on_from_its_state_to_the_bit(make, way):
    start, gradients = float32(2, 10)
    whole = [torch.nn.Parameter(value.clone()) for value in start]
    stepped(make(whole), whole, gradients)

    parts = [torch.nn.Parameter(value.clone()) for value in start]
    first, named = make(parts), {"a.weight": parts[0], "b.weight": parts[1]}
    stepped(first, parts, gradients[:5])
    second = make(list(reversed(parts)))  # by name, not by place
    if way == "keep":
        kept = get_optimizer_state(first, named)
        before = {name: value.clone() for name, value in kept.items()}
        set_optimizer_state(second, named, kept)
    else:
        second = make(parts)
        second.load_state_dict(first.state_dict())
    stepped(second, parts, gradients[5:])
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
    if way == "keep":  # what was kept is as it was, for another attempt
        assert all(torch.equal(before[name], kept[name]) for name in before)


def test_what_is_kept_are_tensors_of_their_own_by_name():
    start, gradients = float32(3, 3)
    parameters = [torch.nn.Parameter(value.clone()) for value in start]
    optimizer = Adopt(parameters)
    stepped(optimizer, parameters, gradients)
    kept = get_optimizer_state(optimizer, {"a": parameters[0], "b": parameters[1]})
    assert list(kept) == sorted(f"{k}/{n}" for k in ("exp_avg", "exp_avg_sq", "step") for n in "ab")
    assert kept["step/a"].shape == () and kept["step/a"] == 3
    stepped(optimizer, parameters, gradients)
    assert kept["step/a"] == 3 and not torch.equal(
        kept["exp_avg/a"], optimizer.state[parameters[0]]["exp_avg"]
    )


def test_state_that_is_no_tensor_and_no_number_is_refused():
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.LBFGS([parameter])

    def closure():
        optimizer.zero_grad()
        loss = (parameter - math.pi).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with pytest.raises(UserError, match="LBFGS cannot be kept"):
        get_optimizer_state(optimizer, {"a": parameter})

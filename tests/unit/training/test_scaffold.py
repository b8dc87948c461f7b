"""SCAFFOLD against algorithm 1 of its paper (arXiv 1910.06378)."""

import numpy as np
import pytest
import torch
from adapter_training import (
    PLAIN_SGD,
    assert_states_close,
    assert_states_equal,
    build_config,
    reference_training,
)

from blossomtune.training import adapter
from blossomtune.training.scaffold import (
    apply_correction,
    update_client_control,
    update_server_control,
)
from blossomtune.training.trainer import LocalObjective, train_adapter

LR, STEPS, CLIENTS = 0.05, 8, 3


def quadratic_problems():
    """Return losses ½‖H x − b‖² with optima far from one another."""
    generator = np.random.default_rng(0)
    return [(generator.normal(size=(6, 4)), 10 * generator.normal(size=6)) for _ in range(CLIENTS)]


def gradient(problem, x):
    h, b = problem
    return h.T @ (h @ x - b) / len(b)


def run_reference(num_rounds, sample):
    """Run algorithm 1 with option II and a global step size of 1 in NumPy."""
    x, c, controls = np.zeros(4), np.zeros(4), np.zeros((CLIENTS, 4))
    for round_number in range(num_rounds):
        changes, control_deltas = [], []
        for i in sample(round_number):
            y = x.copy()
            for _ in range(STEPS):
                y = y - LR * (gradient(quadratic_problems()[i], y) - controls[i] + c)
            control = controls[i] - c + (x - y) / (STEPS * LR)
            changes.append(y - x)
            control_deltas.append(control - controls[i])
            controls[i] = control
        x = x + np.mean(changes, axis=0)
        c = c + len(changes) / CLIENTS * np.mean(control_deltas, axis=0)
    return x, c


def run_scaffold(num_rounds, sample):
    """Run the same with torch's SGD and the library's functions."""
    x = {"w": torch.zeros(4, dtype=torch.float64)}
    c = {"w": torch.zeros(4, dtype=torch.float64)}
    controls = [{"w": torch.zeros(4, dtype=torch.float64)} for _ in range(CLIENTS)]
    for round_number in range(num_rounds):
        ends, control_deltas = [], []
        for i in sample(round_number):
            parameters = {"w": torch.nn.Parameter(x["w"].clone())}
            correction = {"w": c["w"] - controls[i]["w"]}
            sgd = torch.optim.SGD(parameters.values(), LR)
            for _ in range(STEPS):
                y = parameters["w"].detach().numpy()
                parameters["w"].grad = torch.from_numpy(gradient(quadratic_problems()[i], y))
                sgd.step()
                apply_correction(parameters, correction, LR)
            end = {"w": parameters["w"].detach()}
            control = update_client_control(controls[i], c, x, end, LR, STEPS)
            ends.append(end["w"])
            control_deltas.append({"w": control["w"] - controls[i]["w"]})
            controls[i] = control
        x = {"w": torch.stack(ends).mean(dim=0)}
        c = update_server_control(c, control_deltas, CLIENTS)
    return x["w"].numpy(), c["w"].numpy()


@pytest.mark.parametrize(
    "sample", [lambda _: range(CLIENTS), lambda r: [r % CLIENTS, (r + 1) % CLIENTS]]
)
def test_scaffold_matches_the_paper(sample):
    for actual, expected in zip(run_scaffold(7, sample), run_reference(7, sample), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_scaffold_converges_to_the_optimum_that_averaging_misses():
    h = np.concatenate([problem[0] for problem in quadratic_problems()])
    b = np.concatenate([problem[1] for problem in quadratic_problems()])
    optimum = np.linalg.lstsq(h, b, rcond=None)[0]
    x, control = run_scaffold(150, lambda _: range(CLIENTS))
    np.testing.assert_allclose(x, optimum, atol=1e-6)
    np.testing.assert_allclose(control, 0, atol=1e-6)  # the mean gradient at the optimum

    x = np.zeros(4)
    for _ in range(150):
        ends = []
        for problem in quadratic_problems():
            y = x
            for _ in range(STEPS):
                y = y - LR * gradient(problem, y)
            ends.append(y)
        x = np.mean(ends, axis=0)
    assert np.linalg.norm(x - optimum) > 0.01


def test_control_stays_with_a_learning_rate_of_zero():
    client_control = {"w": torch.ones(2)}
    zero = {"w": torch.zeros(2)}
    control = update_client_control(client_control, zero, zero, zero, 0.0, 5)
    assert torch.equal(control["w"], client_control["w"])


def test_only_the_named_tensors_are_corrected():
    parameters = {"a": torch.nn.Parameter(torch.ones(2)), "b": torch.nn.Parameter(torch.ones(2))}
    apply_correction(parameters, {"a": torch.full((2,), 3.0)}, 0.1)
    assert torch.allclose(parameters["a"], torch.full((2,), 0.7))
    assert torch.equal(parameters["b"], torch.ones(2))


def test_trainer_corrects_each_step(training_setup, tmp_path):
    model, tokenizer, rows = training_setup
    start, lr = adapter.get_adapter_state(model), 1e-2
    generator = torch.Generator().manual_seed(0)
    correction = {n: torch.randn(v.shape, generator=generator) for n, v in start.items()}
    reference_training(model, rows, 4, lambda name, p, g, t: p - lr * (g + correction[name]))
    expected = adapter.get_adapter_state(model)
    adapter.set_adapter_state(model, start)
    objective = LocalObjective(scaffold_correction=correction)
    train_adapter(model, tokenizer, rows, build_config(tmp_path, **PLAIN_SGD), objective)
    assert_states_close(adapter.get_adapter_state(model), expected)


def test_trainer_corrects_the_trained_factor_only(training_setup, tmp_path):
    model, tokenizer, rows = training_setup
    adapter.set_trainable_factor(model, "B")
    start = adapter.get_adapter_state(model)
    trained = adapter.select_factor(start, "B")
    correction = {name: torch.ones_like(value) for name, value in trained.items()}
    objective = LocalObjective(proximal_mu=0.1, scaffold_correction=correction)
    train_adapter(model, tokenizer, rows, build_config(tmp_path), objective)
    end = adapter.get_adapter_state(model)
    assert_states_equal(end, adapter.select_factor(start, "A"))
    assert all(not torch.equal(end[name], start[name]) for name in correction)

"""SCAFFOLD against a small implementation of its paper's algorithm 1 (arXiv 1910.06378)."""

import numpy as np
import pytest
import torch

from blossomtune.training.scaffold import (
    apply_correction,
    update_client_control,
    update_server_control,
)

RATE, STEPS, CLIENTS = 0.05, 8, 3


def problems():
    """Quadratic losses ½‖H x − b‖² with optima far from one another."""
    generator = np.random.default_rng(0)
    return [(generator.normal(size=(6, 4)), 10 * generator.normal(size=6)) for _ in range(CLIENTS)]


def gradient(problem, x):
    h, b = problem
    return h.T @ (h @ x - b) / len(b)


def paper(rounds, chosen):
    """Algorithm 1 with option II and a global step size of 1, in numpy."""
    x, c, own = np.zeros(4), np.zeros(4), np.zeros((CLIENTS, 4))
    for round_ in range(rounds):
        ys, changes = [], []
        for i in chosen(round_):
            y = x.copy()
            for _ in range(STEPS):
                y = y - RATE * (gradient(problems()[i], y) - own[i] + c)
            new = own[i] - c + (x - y) / (STEPS * RATE)
            ys.append(y - x)
            changes.append(new - own[i])
            own[i] = new
        x = x + np.mean(ys, axis=0)
        c = c + len(ys) / CLIENTS * np.mean(changes, axis=0)
    return x, c


def ours(rounds, chosen):
    """The same with SGD of torch and this library's functions."""
    x = {"w": torch.zeros(4, dtype=torch.float64)}
    c = {"w": torch.zeros(4, dtype=torch.float64)}
    own = [{"w": torch.zeros(4, dtype=torch.float64)} for _ in range(CLIENTS)]
    for round_ in range(rounds):
        ends, changes = [], []
        for i in chosen(round_):
            living = {"w": torch.nn.Parameter(x["w"].clone())}
            shift = {"w": c["w"] - own[i]["w"]}
            sgd = torch.optim.SGD(living.values(), RATE)
            for _ in range(STEPS):
                living["w"].grad = torch.from_numpy(
                    gradient(problems()[i], living["w"].detach().numpy())
                )
                sgd.step()
                apply_correction(living, shift, RATE)
            end = {"w": living["w"].detach()}
            new = update_client_control(own[i], c, x, end, RATE, STEPS)
            ends.append(end["w"])
            changes.append({"w": new["w"] - own[i]["w"]})
            own[i] = new
        x = {"w": torch.stack(ends).mean(dim=0)}
        c = update_server_control(c, changes, CLIENTS)
    return x["w"].numpy(), c["w"].numpy()


@pytest.mark.parametrize(
    "chosen", [lambda _: range(CLIENTS), lambda r: [r % CLIENTS, (r + 1) % CLIENTS]]
)
def test_it_is_the_papers_algorithm(chosen):
    for found, expected in zip(ours(7, chosen), paper(7, chosen), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_it_finds_the_optimum_of_all_clients_that_averaging_misses():
    h = np.concatenate([problem[0] for problem in problems()])
    b = np.concatenate([problem[1] for problem in problems()])
    optimum = np.linalg.lstsq(h, b, rcond=None)[0]
    found, control = ours(150, lambda _: range(CLIENTS))
    np.testing.assert_allclose(found, optimum, atol=1e-6)
    np.testing.assert_allclose(control, 0, atol=1e-6)  # the mean gradient where it ends

    x = np.zeros(4)
    for _ in range(150):
        ends = []
        for problem in problems():
            y = x
            for _ in range(STEPS):
                y = y - RATE * gradient(problem, y)
            ends.append(y)
        x = np.mean(ends, axis=0)
    assert np.linalg.norm(x - optimum) > 0.01


def test_with_a_learning_rate_of_zero_a_control_stays():
    mine = {"w": torch.ones(2)}
    zero = {"w": torch.zeros(2)}
    new = update_client_control(mine, zero, zero, zero, 0.0, 5)
    assert torch.equal(new["w"], mine["w"])


def test_only_the_named_tensors_are_corrected():
    living = {"a": torch.nn.Parameter(torch.ones(2)), "b": torch.nn.Parameter(torch.ones(2))}
    apply_correction(living, {"a": torch.full((2,), 3.0)}, 0.1)
    assert torch.allclose(living["a"], torch.full((2,), 0.7)) and torch.equal(
        living["b"], torch.ones(2)
    )

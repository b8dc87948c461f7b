import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.aggregation.drift import measure_drift
from blossomtune.aggregation.types import ClientUpdate

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
SHORT = "layers.0.self_attn.q_proj"
A, B = LAYER + ".lora_A.weight", LAYER + ".lora_B.weight"


def answers(ranks, seed, scales=None):
    generator = torch.Generator().manual_seed(seed)
    return [
        ClientUpdate(
            {
                A: torch.randn(rank, 11, generator=generator),
                B: torch.randn(7, rank, generator=generator),
            },
            scales[i] if scales else 2.0,
            weight=i + 1,
        )
        for i, rank in enumerate(ranks)
    ]


def dense(updates):
    """ΔW* and the clients' shares."""
    total = sum(u.weight for u in updates)
    shares = [u.weight / total for u in updates]
    products = [u.scale * u.state[B].double() @ u.state[A].double() for u in updates]
    return sum(p * w for p, w in zip(shares, products, strict=True)), shares


def near(found, expected):
    return abs(found - expected) <= 1e-5 * abs(expected) + 1e-6


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_drift_is_what_dense_matrices_say(clients, rank, server, seed):
    updates = answers([rank] * clients, seed)
    whole, shares = dense(updates)
    b, a = (
        sum(p * u.state[name].double() for p, u in zip(shares, updates, strict=True))
        for name in (B, A)
    )
    found = measure_drift(updates, server)[SHORT]
    assert near(found["norm"], float(whole.norm()))
    assert near(found["average"], float((whole - 2.0 * b @ a).norm() / whole.norm()))
    rest = torch.linalg.svdvals(whole)[server:].norm()
    assert near(found["best"], float(rest / whole.norm()))


def test_factors_of_several_ranks_or_scales_have_no_average():
    for updates in (answers([2, 3], 0), answers([2, 2], 0, scales=[1.0, 2.0])):
        whole, _ = dense(updates)
        found = measure_drift(updates, 3)[SHORT]
        assert found["average"] is None
        assert near(found["norm"], float(whole.norm()))


def test_what_is_exact_is_zero_to_the_last_digit():
    updates = answers([3, 3, 3], 0)
    for u in updates:
        u.state[A] = updates[0].state[A]
    assert measure_drift(updates, 3)[SHORT] | {"norm": 0} == {
        "norm": 0,
        "average": 0.0,
        "best": 0.0,
    }


def test_without_an_update_there_is_no_drift():
    updates = answers([3, 3], 0)
    for u in updates:
        u.state[B].zero_()
    assert measure_drift(updates, 3) == {SHORT: {"norm": 0.0, "average": 0.0, "best": 0.0}}


def test_six_digits_are_enough():
    found = measure_drift(answers([3, 3], 0), 3)[SHORT]
    assert all(value == float(f"{value:.6g}") for value in found.values())

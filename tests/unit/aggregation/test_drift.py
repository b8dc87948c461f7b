import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.aggregation.drift import measure_drift
from blossomtune.aggregation.types import ClientUpdate
from blossomtune.artifacts.round_record import LayerDrift

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
SHORT_NAME = "layers.0.self_attn.q_proj"
A, B = LAYER + ".lora_A.weight", LAYER + ".lora_B.weight"


def random_updates(ranks, seed, scales=None):
    generator = torch.Generator().manual_seed(seed)
    updates = []
    for i, rank in enumerate(ranks):
        a = torch.randn(rank, 11, generator=generator)
        b = torch.randn(7, rank, generator=generator)
        updates.append(ClientUpdate({A: a, B: b}, scales[i] if scales else 2.0, weight=i + 1))
    return updates


def normalized_weights(updates):
    total = sum(u.weight for u in updates)
    return [u.weight / total for u in updates]


def dense_mean_update(updates):
    products = [u.scale * u.state[B].double() @ u.state[A].double() for u in updates]
    return sum(p * w for p, w in zip(normalized_weights(updates), products, strict=True))


def close_to(tensor):
    return pytest.approx(float(tensor), rel=1e-5, abs=1e-6)


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_drift_matches_dense_matrices(num_clients, rank, server_rank, seed):
    updates = random_updates([rank] * num_clients, seed)
    mean = dense_mean_update(updates)
    b, a = (
        sum(
            p * u.state[n].double()
            for p, u in zip(normalized_weights(updates), updates, strict=True)
        )
        for n in (B, A)
    )
    drift = measure_drift(updates, server_rank)[SHORT_NAME]
    assert drift.norm == close_to(mean.norm())
    assert drift.average == close_to((mean - 2.0 * b @ a).norm() / mean.norm())
    remainder = torch.linalg.svdvals(mean)[server_rank:].norm()
    assert drift.best == close_to(remainder / mean.norm())


def test_factors_of_different_ranks_or_scalings_have_no_average():
    different_ranks = random_updates([2, 3], 0)
    different_scalings = random_updates([2, 2], 0, scales=[1.0, 2.0])
    for updates in (different_ranks, different_scalings):
        drift = measure_drift(updates, 3)[SHORT_NAME]
        assert drift.average is None
        assert drift.norm == close_to(dense_mean_update(updates).norm())


def test_exact_average_has_a_drift_of_zero():
    updates = random_updates([3, 3, 3], 0)
    for u in updates:
        u.state[A] = updates[0].state[A]
    drift = measure_drift(updates, 3)[SHORT_NAME]
    assert (drift.average, drift.best) == (0.0, 0.0)


def test_drift_is_zero_without_an_update():
    updates = random_updates([3, 3], 0)
    for u in updates:
        u.state[B].zero_()
    assert measure_drift(updates, 3) == {SHORT_NAME: LayerDrift(norm=0.0, average=0.0, best=0.0)}


def test_drift_has_six_significant_digits():
    drift = measure_drift(random_updates([3, 3], 0), 3)[SHORT_NAME]
    assert all(value == float(f"{value:.6g}") for _, value in drift)

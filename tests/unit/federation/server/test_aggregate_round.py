import pytest
import torch
from federation_samples import federation_spec

from blossomtune.config.lora import LoraSettings
from blossomtune.deployment.flower_internal import set_task_identity
from blossomtune.federation.server.aggregate_round import aggregate_round, single_threaded
from blossomtune.federation.server.strategies import ServerStrategy, WeightedState

A, B = "q_proj.lora_A.weight", "q_proj.lora_B.weight"
NAMES = ("north", "south", "west", "east", "centre")


@pytest.fixture(autouse=True)
def flower_task():
    """Set the task identity that Flower needs to create messages."""
    set_task_identity(task_id=1, run_id=1, node_id=1)


def state(seed):
    generator = torch.Generator().manual_seed(seed)
    return {A: torch.randn(8, 6, generator=generator), B: torch.randn(5, 8, generator=generator)}


def aggregate(lora=None, weights=(1, 2, 3, 4, 5), **federation):
    """Return the results and the aggregated round of five clients."""
    spec = federation_spec(lora=lora or LoraSettings(r=8), names=NAMES, **federation)
    strategy = ServerStrategy(spec.federation, spec.seed)
    results = {i: WeightedState(state(i + 1), weight) for i, weight in enumerate(weights)}
    return results, aggregate_round(spec, strategy, 1, state(0), state(0), results)


def test_fedavg_is_the_weighted_mean():
    results, aggregated = aggregate()
    mean = sum(r.state[A].double() * r.weight for r in results.values()) / 15
    torch.testing.assert_close(aggregated.state[A].double(), mean, rtol=1e-6, atol=1e-6)
    assert aggregated.base_deltas == {}
    assert set(aggregated.drift) == {"q_proj"}


def test_robust_strategies_choose_among_the_clients():
    results, aggregated = aggregate(strategy="krum")
    assert any(torch.equal(aggregated.state[A], r.state[A]) for r in results.values())


def test_tensors_that_were_not_trained_stay():
    spec = federation_spec(names=NAMES, aggregation="ffa")
    strategy = ServerStrategy(spec.federation, spec.seed)
    results = {0: WeightedState({B: state(1)[B]}, 1)}
    aggregated = aggregate_round(spec, strategy, 1, state(0), {B: state(0)[B]}, results)
    assert torch.equal(aggregated.state[A], state(0)[A])
    assert torch.equal(aggregated.state[B], state(1)[B])


def test_base_is_updated_by_fedex():
    _, aggregated = aggregate(aggregation="fedex")
    assert set(aggregated.base_deltas) == {"q_proj"}


def test_drift_is_not_defined_for_dora():
    _, aggregated = aggregate(lora=LoraSettings(r=8, dora=True))
    assert aggregated.drift is None


def test_number_of_threads_is_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with single_threaded():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)

"""Aggregate the clients' adapters of a round into the next global adapter."""

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import torch

from blossomtune.aggregation import drift
from blossomtune.aggregation.layers import truncate_rank
from blossomtune.aggregation.registry import AGGREGATIONS
from blossomtune.aggregation.types import ClientUpdate, Factors
from blossomtune.artifacts.round_record import LayerDrift
from blossomtune.config.lora import LoraSettings, compute_scaling
from blossomtune.config.strategies import ROBUST_STRATEGIES
from blossomtune.federation.server.strategies import ServerStrategy, WeightedState
from blossomtune.federation.spec import FederationSpec
from blossomtune.named_tensors import StateDict
from blossomtune.training import adapter


@dataclass(frozen=True)
class AggregatedRound:
    """Outcome of a round's aggregation.

    Attributes:
        state: The global adapter.
        drift: Distances from the clients' mean update, by layer; None with DoRA, whose updates
            are not only products of factors.
        base_deltas: Updates of the base weights, by layer, which are computed from the results.
    """

    state: StateDict
    drift: dict[str, LayerDrift] | None
    base_deltas: Mapping[str, Factors] = field(default_factory=dict)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Limit PyTorch to one thread, since more threads sum in an order that depends on cores."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


@single_threaded()
def aggregate_round(
    spec: FederationSpec,
    strategy: ServerStrategy,
    round_number: int,
    global_state: StateDict,
    start_state: StateDict,
    results: Mapping[int, WeightedState],
) -> AggregatedRound:
    """Aggregate one round.

    Robust strategies choose among the results, and noise is valid only for a plain average. Both
    get all results. Other strategies get the result of the aggregation method.

    Args:
        spec: What is trained.
        strategy: The server's strategy.
        round_number: Number of the round, from 1.
        global_state: Global adapter before the round.
        start_state: Its trained tensors as clients of the server's rank received them.
        results: Trained tensors by client, in the order of the clients, each at its own rank.

    Returns:
        The next global adapter, updates of the base weights, and the drift.
    """
    federation, lora = spec.federation, spec.lora
    ranks = [spec.clients[client].rank for client in results]
    updates = [
        ClientUpdate(result.state, compute_scaling(lora, rank), result.weight)
        for rank, result in zip(ranks, results.values(), strict=True)
    ]
    drift_by_layer = None if lora.dora else _measure_drift(lora, global_state, updates, ranks)
    if federation.strategy.name in ROBUST_STRATEGIES or federation.privacy:
        state = strategy.aggregate_train(round_number, start_state, list(results.values()))
        return AggregatedRound(global_state | state, drift_by_layer)
    server_state = start_state
    if federation.aggregation == "flora":
        server_state = adapter.reinitialize_adapter(global_state, spec.seed, round_number)
    aggregate = AGGREGATIONS[federation.aggregation]
    aggregated = aggregate(updates, server_state, compute_scaling(lora, lora.r))
    mean = WeightedState(aggregated.state, 1.0)
    state = strategy.aggregate_train(round_number, start_state, [mean])
    return AggregatedRound(global_state | state, drift_by_layer, aggregated.base_deltas)


def _measure_drift(
    lora: LoraSettings,
    global_state: StateDict,
    updates: Sequence[ClientUpdate],
    ranks: Sequence[int],
) -> dict[str, LayerDrift]:
    """Measure the drift of complete adapters, since only products of factors are comparable."""
    server_scale = compute_scaling(lora, lora.r)
    untrained = {n: value for n, value in global_state.items() if n not in updates[0].state}
    complete = []
    for rank, update in zip(ranks, updates, strict=True):
        received = truncate_rank(untrained, rank, server_scale, update.scale)
        maps = (cast(StateDict, update.state), received)  # a ChainMap of both is only read
        complete.append(ClientUpdate(ChainMap(*maps), update.scale, update.weight))
    return drift.measure_drift(complete, lora.r)

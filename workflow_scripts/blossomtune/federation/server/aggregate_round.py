"""From the clients' answers to the next global adapter."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from blossomtune.aggregation import drift
from blossomtune.aggregation.layers import truncate_rank
from blossomtune.aggregation.registry import AGGREGATIONS
from blossomtune.aggregation.types import ClientUpdate, Factors
from blossomtune.artifacts.round_record import LayerDrift
from blossomtune.config.lora import compute_scaling
from blossomtune.config.strategies import ROBUST_STRATEGIES
from blossomtune.federation.server.strategies import ServerStrategy, WeightedState
from blossomtune.federation.spec import FederationSpec
from blossomtune.named_tensors import StateDict
from blossomtune.training import adapter


@dataclass(frozen=True)
class AggregatedRound:
    """What a round made.

    Attributes:
        state: the global adapter.
        folded: by layer, what is to be added to the base's weights.
        drift: by layer, how far plain averaging is from the clients' average update; None with
            DoRA, where updates are more than products.
    """

    state: StateDict
    base_deltas: dict[str, Factors]
    drift: dict[str, LayerDrift] | None


@contextmanager
def single_threaded() -> Iterator[None]:
    """More threads add up in another order, and cores are no part of what a result depends on."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@single_threaded()
def aggregate_round(
    spec: FederationSpec,
    strategy: ServerStrategy,
    round_number: int,
    global_state: StateDict,
    start_state: StateDict,
    results: Mapping[int, WeightedState],
) -> AggregatedRound:
    """Aggregates one round.

    Strategies that choose among the clients, and noise that is measured for a plain average, get
    every answer; all others get the average that the aggregation makes.

    Args:
        spec: the federation.
        strategy: of the server; it may take a step of its own.
        number: the round's number.
        state: the global adapter before the round.
        start: its trained part, as clients of the server's rank got it.
        answers: in the order of the clients; the trained part of each, at its own rank.
    """
    f, lora = spec.federation, spec.lora
    ours = compute_scaling(lora, lora.r)
    updates = [
        ClientUpdate(a.state, compute_scaling(lora, spec.clients[client].rank), a.weight)
        for client, a in results.items()
    ]
    if f.strategy.name in ROBUST_STRATEGIES or f.privacy:
        new, folded = (
            strategy.aggregate_train(round_number, start_state, list(results.values())),
            {},
        )
    else:
        begin = (
            adapter.reinitialize_adapter(global_state, spec.seed, round_number)
            if f.aggregation == "flora"
            else start_state
        )
        made = AGGREGATIONS[f.aggregation](updates, begin, ours)
        new = strategy.aggregate_train(round_number, start_state, [WeightedState(made.state, 1.0)])
        folded = made.base_deltas
    return AggregatedRound(
        global_state | new,
        folded,
        None if lora.dora else _measure_drift(spec, global_state, updates, results),
    )


def _measure_drift(
    spec: FederationSpec,
    global_state: StateDict,
    updates: list[ClientUpdate],
    results: Mapping[int, WeightedState],
) -> dict[str, LayerDrift]:
    """The same with the factor that was not trained, since only products can be compared."""
    lora = spec.lora
    ranks = [spec.clients[client].rank for client in results]
    whole = [
        ClientUpdate(
            truncate_rank(global_state, rank, compute_scaling(lora, lora.r), u.scale) | u.state,
            u.scale,
            u.weight,
        )
        for rank, u in zip(ranks, updates, strict=True)
    ]
    return drift.measure_drift(whole, lora.r)

"""From the clients' answers to the next global adapter."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from blossomtune.config.adapters import scale
from blossomtune.config.strategies import ROBUST
from blossomtune.federation import adapter, drift
from blossomtune.federation.adapter import Factors, State
from blossomtune.federation.aggregation import AGGREGATIONS, Update, cut
from blossomtune.federation.job import Job
from blossomtune.federation.strategies import Result, ServerStrategy


@dataclass(frozen=True)
class Combined:
    """What a round made.

    Attributes:
        state: the global adapter.
        folded: by layer, what is to be added to the base's weights.
        drift: by layer, how far plain averaging is from the clients' average update; None with
            DoRA, where updates are more than products.
    """

    state: State
    folded: dict[str, Factors]
    drift: dict[str, dict[str, float]] | None


@contextmanager
def one_thread() -> Iterator[None]:
    """More threads add up in another order, and cores are no part of what a result depends on."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def combine(
    job: Job,
    strategy: ServerStrategy,
    number: int,
    state: State,
    start: State,
    answers: Mapping[int, Result],
) -> Combined:
    """Aggregates one round.

    Strategies that choose among the clients, and noise that is measured for a plain average, get
    every answer; all others get the average that the aggregation makes.

    Args:
        job: the federation.
        strategy: of the server; it may take a step of its own.
        number: the round's number.
        state: the global adapter before the round.
        start: its trained part, as clients of the server's rank got it.
        answers: in the order of the clients; the trained part of each, at its own rank.
    """
    f, lora = job.federation, job.lora
    ours = scale(lora, lora.r)
    updates = [
        Update(a.state, scale(lora, job.clients[client].rank), a.weight)
        for client, a in answers.items()
    ]
    if f.strategy.name in ROBUST or f.privacy:
        new, folded = strategy.step(number, start, list(answers.values())), {}
    else:
        begin = adapter.restarted(state, job.seed, number) if f.aggregation == "flora" else start
        made = AGGREGATIONS[f.aggregation](updates, begin, ours)
        new = strategy.step(number, start, [Result(made.state, 1.0)])
        folded = made.folded
    return Combined(
        state | new, folded, None if lora.dora else _drift(job, state, updates, answers)
    )


def _drift(
    job: Job, state: State, updates: list[Update], answers: Mapping[int, Result]
) -> dict[str, dict[str, float]]:
    """The same with the factor that was not trained, since only products can be compared."""
    lora = job.lora
    ranks = [job.clients[client].rank for client in answers]
    whole = [
        Update(cut(state, rank, scale(lora, lora.r), u.scale) | u.state, u.scale, u.weight)
        for rank, u in zip(ranks, updates, strict=True)
    ]
    return drift.drift(whole, lora.r)

"""Describe the drift of plain averaging."""

from statistics import fmean

from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults

_NEGLIGIBLE = 0.05  # smaller shares are called little


def rounds_with_drift(e: ExperimentResults) -> list[RoundRecord]:
    """Return the rounds in which drift was measured."""
    return [record for record in e.history.rounds if record.drift]


def average_over_layers(rounds: list[RoundRecord], measure: str) -> list[tuple[int, float]]:
    """Return round and mean over layers, for the rounds in which the measure is defined.

    Args:
        rounds: rounds with drift.
        measure: ``average`` or ``best``.

    Returns:
        Round and mean distance from ΔW*, as a share of its norm, in the order of the rounds.
    """
    means = []
    for record in rounds:
        values = [getattr(layer, measure) for layer in (record.drift or {}).values()]
        known = [value for value in values if value is not None]
        if known:
            means.append((record.round, fmean(known)))
    return means


def describe_drift(e: ExperimentResults) -> list[str]:
    """Return sentences on the last round's drift and on aggregations that may avoid it."""
    rounds = rounds_with_drift(e)
    if not rounds:
        return []
    last, rank, chosen = rounds[-1:], e.config["lora"]["r"], e.history.aggregation
    best = average_over_layers(last, "best")[0][1]
    averages = average_over_layers(last, "average")
    misses = f"the best adapter of rank {rank} would miss {format_share(best)}"
    if not averages:
        return [
            f"In round {last[0].round}, {misses} of the clients’ mean update (ΔW*), on average "
            "over the layers; factors of different ranks have no plain average.",
            _recommend_for_mixed_ranks(chosen, best),
        ]
    average = averages[0][1]
    return [
        f"In round {last[0].round}, plain averaging of the factors misses {format_share(average)} "
        f"of the clients’ mean update (ΔW*), on average over the layers; {misses}.",
        _recommend_aggregation(chosen, average, best) + _describe_conflicts(e),
    ]


def _recommend_aggregation(aggregation: str, average: float, best: float) -> str:
    if aggregation in ("ffa", "rolora"):
        return "All clients share a factor here, so that plain averaging is exact."
    if aggregation in ("flora", "fedex"):
        return f"This run used {aggregation}, which misses nothing."
    if aggregation == "flexlora":
        return f"This run used flexlora, which misses {format_share(best)}."
    if average < _NEGLIGIBLE:
        return "That is little: an exact method (flexlora, flora, fedex) would hardly pay."
    if best > average / 2:
        return (
            "Most of that is the rank: flexlora, which keeps it, would gain little. Flora and "
            "fedex, which miss nothing, or a higher rank may be worth a try."
        )
    return (
        f"An exact method may pay: flexlora would miss {format_share(best)}, flora and fedex "
        "nothing. Whether answers get better is for a run with one of them to show."
    )


def _describe_conflicts(e: ExperimentResults) -> str:
    """Return which setting excludes an exact method; empty if none does."""
    conflicts = [
        (e.config["lora"]["dora"], "with DoRA there is no exact method"),
        (e.history.privacy is not None, "with privacy, ffa and rolora are the exact ones"),
        (
            e.history.strategy not in ("fedavg", "fedprox"),
            f"with {e.history.strategy}, ffa and rolora are the exact ones",
        ),
    ]
    reason = next((reason for holds, reason in conflicts if holds), None)
    return f" But {reason}." if reason and e.history.aggregation in ("fedavg", "hetlora") else ""


def _recommend_for_mixed_ranks(aggregation: str, best: float) -> str:
    if aggregation == "flora":
        return "This run used flora, which misses nothing."
    if aggregation == "flexlora":
        return f"This run used flexlora, which misses {format_share(best)}."
    if best < _NEGLIGIBLE:
        return "That is little: flexlora would keep nearly all of it."
    return "That is what flexlora would miss; flora would miss nothing."


def format_share(value: float) -> str:
    """Return a share in percent, or "nothing"."""
    return "nothing" if value == 0 else formatting.format_percent(value, 1 if value < 0.1 else 0)

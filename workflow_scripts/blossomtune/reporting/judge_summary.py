"""Describe the verdicts of a judge model."""

from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults


def describe_judge(e: ExperimentResults) -> str:
    """Return a sentence on the comparison with the base; empty without a judge."""
    pair = e.judge.pairs.get("base") if e.judge else None
    if not e.judge or not pair:
        return ""
    rate = pair.win_rate
    value, low, high = map(formatting.format_percent, (rate.value, rate.low, rate.high))
    chance = ", which may be chance" if rate.low <= 0.5 <= rate.high else ""
    return (
        f"By {e.judge.model}, a judge model, the federated model wins {value} of "
        f"{formatting.format_amount(pair.rows, 'comparison')} with the base (ties count half; "
        f"95{formatting.NARROW_SPACE}% interval {low} to {high}){chance}."
    )

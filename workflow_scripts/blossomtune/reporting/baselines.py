"""What the controls say: how far the federated model is from pooled data and from being alone."""

from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults

_BASELINE_PHRASES = {
    "centralised": "one model trained on all rows pooled",
    "local": "clients that train alone",
}


def describe_differences(e: ExperimentResults) -> list[str]:
    """A sentence a control, by the difference on the same rows; none without controls."""
    return [
        f"Against {what}, {describe_difference(e, name)}."
        for name, what in _BASELINE_PHRASES.items()
        if name in e.metrics
    ]


def describe_difference(e: ExperimentResults, baseline: str) -> str:
    """How the federated model does against another, and whether these rows can tell.

    Args:
        e: the experiment.
        name: of the other model.
    """
    found = e.differences[baseline]
    if e.uses_accuracy and found.accuracy:
        i, more, less = found.accuracy, "ahead", "behind"
        size = f"{abs(i.value) * 100:.1f} points"
        low, high = formatting.format_points(i.low, ""), formatting.format_points(i.high, "")
    else:
        i, more, less = found.loss, "higher", "lower"
        size = f"{formatting.format_number(abs(i.value))} nats a token"
        low, high = formatting.format_signed(i.low), formatting.format_signed(i.high)
    interval = f"95{formatting.NARROW_SPACE}% interval {low} to {high}"
    if not i.excludes_zero:
        rows = f"these {formatting.format_count(e.federated.rows)} examples"
        return f"there is no difference that {rows} can show ({interval})"
    subject = "it is" if e.uses_accuracy else "its loss is"
    return f"{subject} {size} {more if i.value > 0 else less} ({interval})"


def explain_baselines(e: ExperimentResults) -> str:
    """What the controls are, and that they had as many steps; nothing without controls."""
    told, steps = [], []
    if "local" in e.metrics:
        several = formatting.format_amount(len(e.metrics["local"].models), "model")
        told.append(
            "“local only” is what clients reach without the others: each trains on its own rows "
            f"alone, and the numbers are means over their {several}"
        )
        steps.append("the clients’ own models together")
    if "centralised" in e.metrics:
        told.append("“centralised” is one model trained on the rows of all clients, pooled")
        steps.append("the centralised one alone")
    if not told:
        return ""
    who = ", and ".join(steps) + "," * (len(steps) > 1)
    took = f"{who} took as many optimizer steps as the federation"
    if e.history.stop_reason:
        took += " would have in all its rounds; it stopped before the last"
    return f"{formatting.capitalize_first('; '.join(told))}. {formatting.capitalize_first(took)}."

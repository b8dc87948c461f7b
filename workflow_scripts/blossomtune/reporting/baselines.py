"""Describe the baselines: pooled training, and clients that train alone."""

from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults

_BASELINE_PHRASES = {
    "centralised": "one model trained on all rows pooled",
    "local": "clients that train alone",
}


def describe_differences(e: ExperimentResults) -> list[str]:
    """Return a sentence per baseline that compares it with the federated model."""
    return [
        f"Against {phrase}, {describe_difference(e, name)}."
        for name, phrase in _BASELINE_PHRASES.items()
        if name in e.metrics
    ]


def describe_difference(e: ExperimentResults, model: str) -> str:
    """Return how the federated model differs from another one, and whether that may be chance.

    Args:
        e: the experiment.
        model: name of the other model.

    Returns:
        Part of a sentence, without a full stop, with the paired 95 % interval: in percentage points
        of accuracy, or in nats per token without accuracy.
    """
    difference = e.differences[model]
    if e.uses_accuracy and difference.accuracy:
        i, more, less = difference.accuracy, "ahead", "behind"
        subject, size = "it is", f"{abs(i.value) * 100:.1f} points"
        low, high = formatting.format_points(i.low, ""), formatting.format_points(i.high, "")
    else:
        i, more, less = difference.loss, "higher", "lower"
        subject, size = "its loss is", f"{formatting.format_number(abs(i.value))} nats a token"
        low, high = formatting.format_signed(i.low), formatting.format_signed(i.high)
    interval = f"95{formatting.NARROW_SPACE}% interval {low} to {high}"
    if not i.excludes_zero:
        rows = f"these {formatting.format_count(e.federated.rows)} examples"
        return f"there is no difference that {rows} can show ({interval})"
    return f"{subject} {size} {more if i.value > 0 else less} ({interval})"


def explain_baselines(e: ExperimentResults) -> str:
    """Return what the baselines are and how many steps they took; empty without baselines."""
    explanations, models = [], []
    if e.local_models:
        number = formatting.format_amount(len(e.local_models), "model")
        explanations.append(
            "“local only” is what clients reach without the others: each trains on its own rows "
            f"alone, and the numbers are means over their {number}"
        )
        models.append("the clients’ own models together")
    if "centralised" in e.metrics:
        explanations.append("“centralised” is one model trained on the rows of all clients, pooled")
        models.append("the centralised one alone")
    if not models:
        return ""
    subject = ", and ".join(models) + "," * (len(models) > 1)
    steps = f"{subject} took as many optimizer steps as the federation"
    if e.history.stop_reason:
        steps += " would have in all its rounds; it stopped before the last"
    sentences = ("; ".join(explanations), steps)
    return " ".join(f"{formatting.capitalize_first(sentence)}." for sentence in sentences)

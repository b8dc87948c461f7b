"""What the controls say: how far the federated model is from pooled data and from being alone."""

from blossomtune.reporting import words
from blossomtune.reporting.inputs import Experiment

_AGAINST = {
    "centralised": "one model trained on all rows pooled",
    "local": "clients that train alone",
}


def compared(e: Experiment) -> list[str]:
    """A sentence a control, by the difference on the same rows; none without controls."""
    return [
        f"Against {what}, {difference(e, name)}."
        for name, what in _AGAINST.items()
        if name in e.metrics
    ]


def difference(e: Experiment, name: str) -> str:
    """How the federated model does against another, and whether these rows can tell.

    Args:
        e: the experiment.
        name: of the other model.
    """
    found = e.difference[name]
    if e.by_accuracy and found.accuracy:
        i, more, less = found.accuracy, "ahead", "behind"
        size = f"{abs(i.value) * 100:.1f} points"
        low, high = words.points(i.low, ""), words.points(i.high, "")
    else:
        i, more, less = found.loss, "higher", "lower"
        size = f"{words.number(abs(i.value))} nats a token"
        low, high = words.signed(i.low), words.signed(i.high)
    interval = f"95{words.THIN}% interval {low} to {high}"
    if not i.clear:
        rows = f"these {words.count(e.federated.rows)} examples"
        return f"there is no difference that {rows} can show ({interval})"
    subject = "it is" if e.by_accuracy else "its loss is"
    return f"{subject} {size} {more if i.value > 0 else less} ({interval})"


def explained(e: Experiment) -> str:
    """What the controls are, and that they had as many steps; nothing without controls."""
    told, steps = [], []
    if "local" in e.metrics:
        several = words.amount(len(e.metrics["local"].models), "model")
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
    if e.history.stopped:
        took += " would have in all its rounds; it stopped before the last"
    return f"{words.capital('; '.join(told))}. {words.capital(took)}."

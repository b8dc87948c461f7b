"""Describe an experiment's result in one line; needs no PyTorch."""

from blossomtune.artifacts.metrics import (
    ANSWER_METRIC_LABELS,
    GroupMetrics,
    LeakFreeMetrics,
    PairedDifference,
)


def describe_result(
    before: GroupMetrics,
    after: GroupMetrics,
    difference: PairedDifference,
    num_leaked: int = 0,
    without_leaks: LeakFreeMetrics | None = None,
) -> str:
    """Return accuracy before and after training, and the difference's 95 % interval.

    Without choices, the loss and the metrics of generated answers take its place.

    Args:
        before: metrics of the base model.
        after: metrics of the federated model on the same rows.
        difference: paired difference of the two.
        num_leaked: number of these rows that occur in training rows, too.
        without_leaks: metrics without them.

    Returns:
        Part of a sentence on one line, without a full stop. Accuracies are in percent, their
        difference in percentage points, losses in nats per completion token.
    """
    line = _describe_change(before, after, difference)
    if num_leaked:
        line += f"; {num_leaked} of these rows are in the training rows, too"
    if without_leaks:
        base, federated = (without_leaks.models[name] for name in ("base", "federated"))
        line += f"; {_describe_change(base, federated, without_leaks.difference['base'])}"
    return line


def _describe_change(
    before: GroupMetrics, after: GroupMetrics, difference: PairedDifference
) -> str:
    rows = f"on {after.rows} held-out rows"
    if before.accuracy and after.accuracy and difference.accuracy:
        change = difference.accuracy
        return (
            f"accuracy {before.accuracy.value:.1%} before and {after.accuracy.value:.1%} after "
            f"training {rows} ({100 * change.value:+.1f} points, 95 % interval "
            f"{100 * change.low:+.1f} to {100 * change.high:+.1f})"
        )
    change = difference.loss
    line = (
        f"loss {before.loss.value:.3f} before and {after.loss.value:.3f} after training {rows} "
        f"({change.value:+.3f}, 95 % interval {change.low:+.3f} to {change.high:+.3f})"
    )
    for name, answers in (difference.answer_metrics or {}).items():
        line += (
            f"; {ANSWER_METRIC_LABELS[name]} {_get_share(before, name)} before and "
            f"{_get_share(after, name)} after on {answers.rows} answers "
            f"({100 * answers.value:+.1f} points, {100 * answers.low:+.1f} to "
            f"{100 * answers.high:+.1f})"
        )
    return line


def _get_share(group: GroupMetrics, name: str) -> str:
    metric = (group.answer_metrics or {}).get(name)
    return f"{metric.value:.1%}" if metric else "–"

"""Choose and name the metric that compares generated answers."""

from collections.abc import Collection, Sequence

from blossomtune.artifacts.metrics import ANSWER_METRIC_LABELS
from blossomtune.reporting import formatting

_USUAL = ("tool_call_match", "numeric_match", "rouge_l", "token_f1", "chrf")
"""Metrics in the order in which one is chosen if the configuration names none."""


def choose_metric(available: Collection[str], configured: Sequence[str]) -> str | None:
    """Return the metric by which answers are compared.

    Args:
        available: metrics that all answers have.
        configured: metrics in the order of the configuration; may be empty.

    Returns:
        The first configured one that is available, else the first of the usual ones; None without
        metrics.
    """
    order = [*configured, *_USUAL, *sorted(available)]
    return next((name for name in order if name in available), None)


def get_metric_label(name: str) -> str:
    """Return the metric's name for readers."""
    return ANSWER_METRIC_LABELS[name]


def format_metric(value: float | None) -> str:
    """Return a metric's value in percent; a dash without a value."""
    return "–" if value is None else formatting.format_percent(value)

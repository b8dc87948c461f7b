"""Name the metrics of generated answers, and choose the one that compares them."""

from collections.abc import Collection, Sequence

from blossomtune.artifacts.metrics import (
    ANSWER_METRIC_LABELS,
    ConfidenceInterval,
    ModelMetrics,
    PairedDifference,
    SampledInterval,
)
from blossomtune.reporting import formatting


def get_metric_label(name: str) -> str:
    """Return the metric's name for readers."""
    return ANSWER_METRIC_LABELS.get(name, name.replace("_", " "))


def choose_metric(available: Collection[str], configured: Sequence[str]) -> str | None:
    """Return the metric by which answers are compared.

    Args:
        available: metrics that all answers have.
        configured: metrics in the order of the configuration; may be empty.

    Returns:
        The first configured one that is available, else the first of the usual ones; None without
        metrics.
    """
    order = [*configured, *ANSWER_METRIC_LABELS, *sorted(available)]
    return next((name for name in order if name in available), None)


def format_metric(value: float | None) -> str:
    """Return a metric's value in percent; a dash without a value."""
    return "–" if value is None else formatting.format_percent(value)


def list_answer_metrics(model: ModelMetrics) -> dict[str, SampledInterval]:
    """Return a model's metrics of generated answers by name."""
    return model.answer_metrics or {}


def get_answer_difference(difference: PairedDifference, name: str) -> ConfidenceInterval | None:
    """Return the paired difference of a metric of generated answers.

    Args:
        difference: the federated model against another one.
        name: name of the metric.

    Returns:
        Difference with its interval; None if it was not computed.
    """
    return (difference.answer_metrics or {}).get(name)

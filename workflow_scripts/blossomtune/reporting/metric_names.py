"""Name the metrics of generated answers, and choose the one that compares them."""

from collections.abc import Collection, Sequence

from blossomtune.reporting import formatting

_LABELS = {
    "tool_call_match": "matching tool calls",
    "numeric_match": "right numbers",
    "rouge_l": "ROUGE-L",
    "token_f1": "token F1",
    "chrf": "chrF",
    "normalized_exact_match": "normalised exact match",
    "exact_match": "exact match",
    "json_valid": "valid JSON",
}
"""Labels by name, in the order in which metrics are chosen if the configuration names none."""


def get_metric_label(name: str) -> str:
    """Return the metric's name for readers."""
    return _LABELS.get(name, name.replace("_", " "))


def choose_metric(available: Collection[str], configured: Sequence[str]) -> str | None:
    """Return the metric by which answers are compared.

    Args:
        available: metrics that all answers have.
        configured: metrics in the order of the configuration; may be empty.

    Returns:
        The first configured one that is available, else the first of the usual ones; None without
        metrics.
    """
    order = [*configured, *_LABELS, *sorted(available)]
    return next((name for name in order if name in available), None)


def format_metric(value: float | None) -> str:
    """Return a metric's value in percent; a dash without a value."""
    return "–" if value is None else formatting.format_percent(value)

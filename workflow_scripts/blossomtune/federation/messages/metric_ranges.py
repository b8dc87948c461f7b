"""Read metrics whose values are possible."""

from collections.abc import Mapping
from typing import NamedTuple

from flwr.app import MetricRecord

from blossomtune.errors import abbreviate


class Range(NamedTuple):
    """Values that a metric may have, both ends included."""

    low: float
    high: float
    is_whole: bool = False


def read_metrics(record: MetricRecord, ranges: Mapping[str, Range]) -> dict[str, float]:
    """Read metrics, each within its range.

    Args:
        record: Metrics of a reply.
        ranges: Possible values of each metric.

    Returns:
        The metrics by name.

    Raises:
        ValueError: If a metric is missing, unknown or not possible.
    """
    metrics: dict[str, float] = {}
    for name, (low, high, is_whole) in ranges.items():
        value = record.get(name)
        if (
            not isinstance(value, int | float)
            or not low <= value <= high
            or (is_whole and value != int(value))
        ):
            allowed = f"{'a whole number ' if is_whole else ''}from {low:g} to {high:.15g}"
            raise ValueError(
                f"the reply says {abbreviate(value)} for {name}; {allowed} is possible"
            )
        metrics[name] = value
    if unknown := sorted(set(record) - set(ranges)):
        raise ValueError(f"the reply holds the unknown metric {abbreviate(unknown[0])}")
    return metrics

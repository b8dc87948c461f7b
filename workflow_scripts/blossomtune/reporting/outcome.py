"""The figure of what came out: every model with its interval, overall and by value."""

from blossomtune.artifacts.metrics import ConfidenceInterval, GroupMetrics
from blossomtune.reporting import formatting
from blossomtune.reporting.dots import DotRow, Mark, Scale, draw_dots, is_finite
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.svg import Canvas, compute_ticks

MODEL_STYLES = {"base": "m0 m", "federated": "m1 m", "local": "m2 m", "centralised": "m3 m"}
"""How models look, by name."""

MODEL_LABELS = {name: name for name in MODEL_STYLES} | {"local": "local only"}
"""How people call them."""

_MAX_ROWS = 24  # rows of a chart; tables beside it show all of them


def select_metric(group: GroupMetrics, *, uses_accuracy: bool) -> ConfidenceInterval | None:
    """The number that models are compared by."""
    return group.accuracy if uses_accuracy else group.loss


def build_scale(intervals: list[ConfidenceInterval], *, uses_accuracy: bool) -> Scale:
    """An axis from 0: to 100 % for accuracies, to the largest of losses."""
    if uses_accuracy:
        return Scale(
            [0, 0.25, 0.5, 0.75, 1.0], formatting.format_percent, formatting.format_percent
        )
    highest = max((i.high for i in intervals), default=1.0)
    return Scale(
        compute_ticks(highest),
        lambda tick: formatting.format_setting(round(tick, 9)),
        formatting.format_number,
    )


def draw_outcome(e: ExperimentResults, width: float) -> Canvas:
    """Accuracy (without choices: loss) of every model with its interval, overall and by value."""
    found = [_build_row(e, "all", e.metrics, strong=True)]
    values = sorted({v for m in e.metrics.values() for v in m.by or {}})
    values.sort(key=lambda v: -max(m.by[v].rows for m in e.metrics.values() if v in (m.by or {})))
    for value in values[: _MAX_ROWS - 1]:
        groups = {n: m.by[value] for n, m in e.metrics.items() if value in (m.by or {})}
        found.append(_build_row(e, value, groups))
    rows = [row for row in found if row.marks]
    intervals = [mark.interval for row in rows for mark in row.marks]
    scale = build_scale(intervals, uses_accuracy=e.uses_accuracy)
    what = "Accuracy" if e.uses_accuracy else "Loss"
    said = ", ".join(f"{m.name} {scale.value(m.interval.value)}" for m in found[0].marks)
    legends = [(MODEL_STYLES[name], MODEL_LABELS[name]) for name in e.metrics]
    return draw_dots(width, rows, legends, scale, f"{what} on the held-out examples: {said}.")


def _build_row(
    e: ExperimentResults, label: str, groups: dict[str, GroupMetrics], *, strong: bool = False
) -> DotRow:
    marks, size = [], 0
    for name, group in groups.items():
        interval = select_metric(group, uses_accuracy=e.uses_accuracy)
        if interval and is_finite(interval):
            marks.append(Mark(MODEL_STYLES[name], MODEL_LABELS[name], interval))
            size = max(size, group.rows)
    return DotRow(label, f"{formatting.format_count(size)} examples", marks, strong)

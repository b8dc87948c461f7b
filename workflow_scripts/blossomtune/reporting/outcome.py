"""The figure of what came out: every model with its interval, overall and by value."""

from blossomtune.reporting import words
from blossomtune.reporting.dots import Mark, Row, Scale, dots, finite
from blossomtune.reporting.inputs import Experiment
from blossomtune.reporting.metrics import Group, Interval
from blossomtune.reporting.svg import Canvas, ticks

KINDS = {"base": "m0 m", "federated": "m1 m", "local": "m2 m", "centralised": "m3 m"}
"""How models look, by name."""

NAMES = {name: name for name in KINDS} | {"local": "local only"}
"""How people call them."""

_ROWS = 24  # rows of a chart; tables beside it show all of them


def measure(group: Group, *, by_accuracy: bool) -> Interval | None:
    """The number that models are compared by."""
    return group.accuracy if by_accuracy else group.loss


def scale_of(found: list[Interval], *, by_accuracy: bool) -> Scale:
    """An axis from 0: to 100 % for accuracies, to the largest of losses."""
    if by_accuracy:
        return Scale([0, 0.25, 0.5, 0.75, 1.0], words.percent, words.percent)
    highest = max((i.high for i in found), default=1.0)
    return Scale(ticks(highest), lambda tick: words.plain(round(tick, 9)), words.number)


def outcome(e: Experiment, width: float) -> Canvas:
    """Accuracy (without choices: loss) of every model with its interval, overall and by value."""
    found = [_row(e, "all", e.metrics, strong=True)]
    values = sorted({v for m in e.metrics.values() for v in m.by or {}})
    values.sort(key=lambda v: -max(m.by[v].rows for m in e.metrics.values() if v in (m.by or {})))
    for value in values[: _ROWS - 1]:
        groups = {n: m.by[value] for n, m in e.metrics.items() if value in (m.by or {})}
        found.append(_row(e, value, groups))
    rows = [row for row in found if row.marks]
    intervals = [mark.found for row in rows for mark in row.marks]
    scale = scale_of(intervals, by_accuracy=e.by_accuracy)
    what = "Accuracy" if e.by_accuracy else "Loss"
    said = ", ".join(f"{m.name} {scale.value(m.found.value)}" for m in found[0].marks)
    legends = [(KINDS[name], NAMES[name]) for name in e.metrics]
    return dots(width, rows, legends, scale, f"{what} on the held-out examples: {said}.")


def _row(e: Experiment, label: str, groups: dict[str, Group], *, strong: bool = False) -> Row:
    marks, size = [], 0
    for name, group in groups.items():
        interval = measure(group, by_accuracy=e.by_accuracy)
        if interval and finite(interval):
            marks.append(Mark(KINDS[name], NAMES[name], interval))
            size = max(size, group.rows)
    return Row(label, f"{words.count(size)} examples", marks, strong)

"""A chart of dots on lines: values with their intervals, row by row."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blossomtune.artifacts.metrics import ConfidenceInterval
from blossomtune.reporting.bars import draw_legend, layout_legend
from blossomtune.reporting.svg import Canvas

_STEP = 17  # pixels from one mark of a row to the next
_BETWEEN = 21  # more, from one row to the next
_THIN = 24  # from one row to the next where all marks share a line


@dataclass(frozen=True)
class Mark:
    """A value: how it looks (a class of figure.css), whose it is, and what was measured."""

    kind: str
    name: str
    interval: ConfidenceInterval


@dataclass(frozen=True)
class DotRow:
    """Values that belong together, with a label and a note before them."""

    label: str
    note: str
    marks: Sequence[Mark]
    strong: bool = False


@dataclass(frozen=True)
class Scale:
    """The axis: where it has ticks, and how ticks and values are written."""

    ticks: Sequence[float]
    tick: Callable[[float], str]
    value: Callable[[float], str]


def is_finite(interval: ConfidenceInterval) -> bool:
    """Whether it can be drawn."""
    return all(math.isfinite(v) for v in (interval.value, interval.low, interval.high))


def draw_dots(
    width: float,
    rows: Sequence[DotRow],
    legends: list[tuple[str, str]],
    scale: Scale,
    label: str,
    *,
    shared_line: bool = False,
) -> Canvas:
    """The chart.

    Args:
        width: of the figure, in pixels.
        rows: from top to bottom.
        legends: class and name of each kind of mark.
        scale: the axis.
        label: what the figure shows.
        together: puts the marks of a row on one line, without their intervals and numbers.
    """
    top, left = layout_legend(legends, width)[1] + 6, min(150.0, width * 0.3)
    sizes = [_THIN if shared_line else _STEP * len(row.marks) + _BETWEEN for row in rows]
    if not shared_line:  # a row of one mark still has a label and a note
        sizes = [max(size, 40 if row.note else 26) for size, row in zip(sizes, rows, strict=True)]
    height = top + sum(sizes) + 24
    right = width - (22 if shared_line else 40)
    first, last = scale.ticks[0], scale.ticks[-1]
    canvas = Canvas(width, height, label)

    def x(value: float) -> float:
        return left + (right - left) * (min(max(value, first), last) - first) / (last - first)

    for tick in scale.ticks:
        canvas.line(x(tick), top - 8, x(tick), height - 22, "grid")
        canvas.text(x(tick), height - 6, scale.tick(tick), "soft small", anchor="middle")
    draw_legend(canvas, legends, dots=True)
    y = top + 8.0
    for row, size in zip(rows, sizes, strict=True):
        style = "strong" if row.strong else ""
        if shared_line:
            canvas.text(0, y + 4, row.label, style, room=left - 10)
            _draw_on_one_line(canvas, row, x, y, scale)
        else:
            middle = y + _STEP * (len(row.marks) - 1) / 2
            canvas.text(0, middle + (0 if row.note else 4), row.label, style, room=left - 10)
            canvas.text(0, middle + 15, row.note, "soft small", room=left - 4)
            _draw_stacked(canvas, row, x, y, scale)
        y += size
    return canvas


def _draw_stacked(
    canvas: Canvas, row: DotRow, x: Callable[[float], float], y: float, scale: Scale
) -> None:
    for index, mark in enumerate(row.marks):
        place, i, spell = y + _STEP * index, mark.interval, scale.value
        tip = f"{mark.name}, {row.label}: {spell(i.value)} ({spell(i.low)} to {spell(i.high)})"
        canvas.line(x(i.low), place, x(i.high), place, mark.kind)
        canvas.dot(x(i.value), place, mark.kind, tip, radius=5)
        canvas.text(x(i.high) + 8, place + 4, spell(i.value), f"{mark.kind} small")


def _draw_on_one_line(
    canvas: Canvas, row: DotRow, x: Callable[[float], float], y: float, scale: Scale
) -> None:
    places = [x(mark.interval.value) for mark in row.marks]
    canvas.line(min(places), y, max(places), y, "lead")
    for place, mark in zip(places, row.marks, strict=True):
        tip = f"{mark.name}, {row.label}: {scale.value(mark.interval.value)}"
        canvas.dot(place, y, mark.kind, tip, radius=5)

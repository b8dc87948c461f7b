"""What several figures are made of: horizontal bars, and legends."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from blossomtune.reporting import formatting
from blossomtune.reporting.svg import CHAR_WIDTH, Canvas

_LEGEND_CHARS = 24  # characters of a legend's entry
_LINE_HEIGHT = 18  # pixels from one line of text to the next


@dataclass(frozen=True)
class Bar:
    """A bar of parts.

    Attributes:
        name: stands before it.
        parts: class, what it is, and size of each part.
        total: stands after it.
        note: stands at the right edge, or is empty.
    """

    name: str
    parts: list[tuple[str, str, float]]
    total: str
    note: str = ""


def draw_bars(
    width: float,
    rows: list[Bar],
    legends: list[tuple[str, str]],
    label: str,
    *,
    lines: Sequence[str] = (),
    notes: str = "",
) -> Canvas:
    """Horizontal bars, each with a name before and a total after it.

    Args:
        width: of the figure, in pixels.
        found: from top to bottom.
        legends: class and name of each part.
        label: what the figure shows.
        lines: text above it all.
        notes: what the bars' notes are, if they have any.
    """
    pitch, thick = 30, 16
    head = wrap_lines(lines, width)
    below = len(head) * _LINE_HEIGHT
    top = below + layout_legend(legends, width)[1] + (14 if notes else 0)
    left = min(140.0, width * 0.3)
    room = max((len(bar.total) for bar in rows), default=0) * CHAR_WIDTH + 10
    right = width - room - (len(notes) * CHAR_WIDTH + 4 if notes else 0)
    canvas = Canvas(width, top + pitch * len(rows) + 2, label)
    draw_lines(canvas, head)
    draw_legend(canvas, legends, below)
    canvas.text(width, top - 8, notes, "soft small", anchor="end")
    longest = max((sum(size for _, _, size in bar.parts) for bar in rows), default=0) or 1
    for index, bar in enumerate(rows):
        y, x = top + pitch * index, left
        canvas.text(0, y + thick / 2 + 4, bar.name, room=left - 10)
        for kind, what, size in bar.parts:
            length = (right - left) * size / longest
            gap = 1 if len(bar.parts) > 1 else 0
            if size:
                shown = bar.total if len(bar.parts) == 1 else formatting.format_count(round(size))
                tip = f"{bar.name}, {what}: {shown}"
                canvas.bar(x, y, max(0.75, length - gap), thick, kind, tip)
            x += length
        canvas.text(x + 8, y + thick / 2 + 4, bar.total, "soft")
        canvas.text(width, y + thick / 2 + 4, bar.note, "soft", anchor="end")
    return canvas


def wrap_lines(lines: Sequence[str], width: float) -> list[str]:
    """The lines, wrapped where they are longer than the figure is wide."""
    return [part for line in lines for part in textwrap.wrap(line, int(width / CHAR_WIDTH))]


def draw_lines(canvas: Canvas, lines: Sequence[str]) -> float:
    """Writes lines at the top, and says where they end."""
    for number, line in enumerate(lines):
        canvas.text(0, 12 + _LINE_HEIGHT * number, line, "" if number == 0 else "soft")
    return _LINE_HEIGHT * len(lines)


def layout_legend(
    entries: list[tuple[str, str]], width: float
) -> tuple[list[tuple[float, float]], float]:
    """Places of a legend's entries, in as many lines as they need, and the height of it all."""
    places, x, y = [], 0.0, 0.0
    for _, name in entries:
        length = 16 + min(len(name), _LEGEND_CHARS) * CHAR_WIDTH + 14
        if x and x + length > width + 14:
            x, y = 0.0, y + 20
        places.append((x, y))
        x += length
    return places, y + 30 if entries else 6


def draw_legend(
    canvas: Canvas, entries: list[tuple[str, str]], top: float = 0, *, dots: bool = False
) -> None:
    """Colours and what they stand for, from ``top`` downwards."""
    for (kind, name), (x, y) in zip(entries, layout_legend(entries, canvas.width)[0], strict=True):
        if dots:
            canvas.dot(x + 5, top + y + 9, kind, radius=5)
        else:
            canvas.bar(x, top + y + 4, 10, 10, kind)
        canvas.text(x + 16, top + y + 13, name, "small", room=_LEGEND_CHARS * CHAR_WIDTH)

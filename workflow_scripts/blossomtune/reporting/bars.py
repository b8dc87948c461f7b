"""Plot horizontal bars of parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from blossomtune.reporting import charts, formatting
from blossomtune.reporting.charts import Figure, Legend

_PITCH = 30  # pixels from one bar to the next


@dataclass(frozen=True)
class Bar:
    """A bar.

    Attributes:
        name: text before the bar.
        parts: name and size of each part.
        total: text after the bar.
        note: text at the right edge.
    """

    name: str
    parts: Sequence[tuple[str, float]]
    total: str
    note: str = ""


def draw_bars(
    bars: Sequence[Bar],
    parts: Legend,
    label: str,
    width: float,
    *,
    lines: Sequence[str] = (),
    note_title: str = "",
    has_legend: bool = False,
) -> Figure:
    """Return the plot.

    Args:
        bars: bars from top to bottom.
        parts: name and colour of each part.
        label: description for screen readers.
        width: width of the figure in pixels.
        lines: text above the bars.
        note_title: title of the notes.
        has_legend: whether the figure has a legend.

    Returns:
        Stacked horizontal bars with names on the left and totals at their ends. The height grows
        with the number of bars.
    """
    head = charts.wrap_lines(lines, width)
    legend_top = charts.LINE_HEIGHT * len(head)
    top = legend_top + charts.measure_legend(parts if has_legend else [], width)[1]
    top += 16 if note_title else 2
    left = min(140.0, width * 0.3)
    right = charts.CHAR_WIDTH * (max(len(bar.total) for bar in bars) + len(note_title)) + 12
    height = _PITCH * len(bars)
    sizes: list[dict[str, Any]] = []
    totals: list[dict[str, Any]] = []
    for index, bar in enumerate(bars):
        end = 0.0
        for part, size in bar.parts:
            shown = bar.total if len(bar.parts) == 1 else formatting.format_count(round(size))
            record = {"bar": index, "part": part, "tip": f"{bar.name}, {part}: {shown}"}
            sizes += [record | {"start": end, "end": end + size}] if size else []
            end += size
        total = {"bar": index, "name": bar.name, "total": bar.total, "note": bar.note}
        totals.append(total | {"size": end})
    longest = max(total["size"] for total in totals) or 1
    y = alt.Y("bar:O", axis=None, scale=alt.Scale(domain=list(range(len(bars)))))
    color = charts.build_color("part", parts, width, left=left, top=top - legend_top)
    rectangles = charts.build_chart(sizes).mark_bar(
        aria=True, size=16, stroke=charts.PAPER, strokeWidth=0.5
    )
    texts = charts.build_chart(totals).encode(y=y)
    layers = [
        rectangles.encode(
            y=y,
            x=alt.X("start:Q", axis=None, scale=alt.Scale(domain=[0, longest], nice=False)),
            x2=alt.X2("end:Q"),
            color=color if has_legend else color.legend(None),
            description=alt.Description("tip:N"),
        ),
        texts.mark_text(aria=True, limit=left - 10).encode(
            x=alt.XValue(-left), text=alt.Text("name:N"), description=alt.Description("name:N")
        ),
        texts.mark_text(dx=8, fill=charts.SOFT).encode(x=alt.X("size:Q"), text=alt.Text("total:N")),
        texts.mark_text(align="right", fill=charts.SOFT).encode(
            x=alt.XValue(width - left), text=alt.Text("note:N")
        ),
        charts.draw_text(note_title, width - left, -8, **charts.SMALL, align="right"),
        *charts.draw_lines(head, -left, -top),
    ]
    return charts.build_figure(
        layers, label, width, top + height + 2, left=left, right=right, top=top, bottom=2
    )

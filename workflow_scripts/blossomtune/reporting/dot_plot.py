"""Plot values with their intervals as dots, row by row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from blossomtune.artifacts.metrics import ConfidenceInterval
from blossomtune.reporting import charts, formatting
from blossomtune.reporting.charts import Figure, Legend

_PITCH, _ROW_GAP, _SHARED_PITCH = 17, 21, 24  # pixels between dots, and between rows


@dataclass(frozen=True)
class DotRow:
    """Values that belong together.

    Attributes:
        label: text before the row.
        note: small text below the label.
        dots: name of the series and interval of each value.
        is_strong: whether the label is bold.
    """

    label: str
    note: str
    dots: Sequence[tuple[str, ConfidenceInterval]]
    is_strong: bool = False


def is_finite(interval: ConfidenceInterval) -> bool:
    """Return whether an interval can be drawn."""
    return all(math.isfinite(v) for v in (interval.value, interval.low, interval.high))


def draw_dot_plot(
    rows: Sequence[DotRow],
    series: Legend,
    label: str,
    width: float,
    *,
    is_share: bool,
    starts_at_zero: bool = True,
    has_legend: bool = True,
    shares_line: bool = False,
) -> Figure:
    """Return the plot.

    Args:
        rows: rows from top to bottom.
        series: name and colour of each series.
        label: description for screen readers.
        width: width of the figure in pixels.
        is_share: whether values are shares of 1 that are shown in percent.
        starts_at_zero: whether the axis starts at 0; it then ends at 1 for shares.
        has_legend: whether the figure has a legend.
        shares_line: whether the dots of a row share a line, without intervals and numbers.

    Returns:
        Dots with 95 % intervals and their numbers. The height grows with the number of rows.
    """
    spell = formatting.format_percent if is_share else formatting.format_number
    shown = series if has_legend else []
    dots: list[dict[str, Any]] = []
    texts: list[dict[str, Any]] = []
    y = 9.0
    for row in rows:
        pitch = 0 if shares_line else _PITCH
        middle = y + pitch * (len(row.dots) - 1) / 2
        weight = 600 if row.is_strong else 400
        texts.append({"y": middle - 7 * bool(row.note), "weight": weight})
        texts[-1] |= {"label": row.label, "note": row.note}
        for place, (name, i) in enumerate(row.dots):
            interval = "" if shares_line else f" ({spell(i.low)} to {spell(i.high)})"
            dots.append({"y": y + pitch * place, "series": name, "text": spell(i.value)})
            dots[-1]["tip"] = f"{name}, {row.label}: {spell(i.value)}{interval}"
            dots[-1] |= i.model_dump(include={"value", "low", "high"})
        rest = _SHARED_PITCH if shares_line else 40 if row.note else 26
        y += max(pitch * len(row.dots) + _ROW_GAP * (not shares_line), rest)
    height = y - 8
    left, top = min(150.0, width * 0.3), 8 + charts.measure_legend(shown, width)[1]
    vertical = alt.Y("y:Q", scale=alt.Scale(domain=[height, 0], nice=False), axis=None)
    is_whole = is_share and starts_at_zero
    scale = alt.Scale(domain=[0, 1]) if is_whole else alt.Scale(zero=starts_at_zero)
    ticks = {"values": [0, 0.25, 0.5, 0.75, 1]} if is_whole else {"tickCount": 4}
    number = "format(datum.value * 100, '~g') + '\u202f%'" if is_share else "datum.label"
    axis = alt.Axis(title=None, labelExpr=number, **ticks)
    color = charts.build_color("series", series, width, left=left, top=top)
    values = charts.build_chart(dots).encode(
        x=alt.X("value:Q", scale=scale, axis=axis),
        y=vertical,
        color=color if has_legend else color.legend(None),
    )
    points = values.mark_circle(aria=True, size=90, opacity=1, stroke=charts.PAPER)
    labels = charts.build_chart(texts).encode(x=alt.XValue(-left), y=vertical)
    if shares_line:
        line = {
            "x": alt.X("min(value):Q"),
            "x2": alt.X2("max(value):Q"),
            "color": alt.ColorValue(charts.RULE),
        }
        layers = [values.mark_rule().encode(**line)]
    else:
        layers = [
            values.mark_rule(strokeWidth=2.5, strokeCap="round", opacity=0.55).encode(
                x=alt.X("low:Q"), x2=alt.X2("high:Q")
            ),
            values.mark_text(dx=8, fontSize=11, fontWeight="bold").encode(
                x=alt.X("high:Q"), text=alt.Text("text:N")
            ),
        ]
    layers += [
        points.encode(description=alt.Description("tip:N")),
        *(
            labels.transform_filter(f"datum.weight == {weight}")
            .mark_text(aria=True, fontWeight=weight, limit=left - 10)
            .encode(text=alt.Text("label:N"), description=alt.Description("label:N"))
            for weight in (400, 600)
        ),
        labels.mark_text(dy=15, fontSize=11, fill=charts.SOFT, limit=left - 4).encode(
            text=alt.Text("note:N")
        ),
    ]
    return charts.build_figure(
        layers, label, width, top + height + 24, left=left, right=40, top=top, bottom=24
    )

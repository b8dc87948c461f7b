"""Render Altair charts as SVG in the style of the page."""

import json
import math
import re
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from markupsafe import Markup

STYLE = (Path(__file__).parent / "figure.css").read_text(encoding="utf-8")
WIDE_WIDTH, NARROW_WIDTH = 696, 340
"""Widths of figures in pixels, for screens and for phones."""

INK, SOFT, RULE, PAPER = "var(--ink)", "var(--soft)", "var(--rule)", "var(--paper)"
ACCENT, NEUTRAL = "var(--accent)", "var(--before)"
PALETTE = [f"var(--c{i})" for i in range(8)]
"""Colours are variables of figure.css, which has a light and a dark value for each."""

LINE_HEIGHT, GAP = 18, 62
"""Pixels from one line of text to the next, and from one plot to another below it."""

CHAR_WIDTH = 6.6
"""Mean width of a character of 12-pixel type, with a margin for wide fonts."""

SMALL = {"fontSize": 11, "fill": SOFT}
"""Style of small text."""

_MARGIN = 24  # pixels around a standalone figure
_LABELS = {"labelFontSize": 11, "titleFontSize": 11, "aria": False}
_CONFIG: dict[str, Any] = {
    "font": "Liberation Sans",  # bundled with vl-convert: the same layout on every machine
    "background": None,
    "view": {"stroke": None},
    "mark": {"aria": False},
    "text": {"fill": INK, "fontSize": 12, "align": "left", "baseline": "middle"},
    "axis": _LABELS
    | {"domain": False, "ticks": False, "gridColor": RULE, "labelColor": SOFT, "labelPadding": 8}
    | {"titleColor": SOFT, "titleFontWeight": "normal", "titlePadding": 8, "labelFlush": False},
    "legend": _LABELS
    | {
        "labelColor": INK,
        "symbolStrokeWidth": 0,
        "symbolOpacity": 1,
        "labelLimit": 150,
        "symbolSize": 70,
    },
}
_VEGA_ATTRIBUTES = ("role", "aria-roledescription", "aria-hidden", "pointer-events", "font-family")
_GEOMETRY_ATTRIBUTES = ("d", "transform", "x2", "y2")

Legend = Sequence[tuple[str, str]]
"""Name and colour of each entry."""


@dataclass(frozen=True)
class Figure:
    """An SVG image of a chart.

    Attributes:
        chart: the chart.
        label: description for screen readers.
        width: width in pixels.
        height: height in pixels.
    """

    chart: alt.TopLevelMixin
    label: str
    width: float
    height: float

    def inline(self) -> Markup:
        """Return the image as part of an HTML page that contains figure.css."""
        return Markup(ET.tostring(self._svg, encoding="unicode"))  # noqa: S704, escaped by ET

    def standalone(self) -> str:
        """Return the image as a file of its own, with style and margin."""
        width, height = self.width + 2 * _MARGIN, self.height + 2 * _MARGIN
        size = {"width": f"{width:g}", "height": f"{height:g}"}
        view = {"viewBox": f"{-_MARGIN} {-_MARGIN} {width:g} {height:g}"}
        namespace = {"xmlns": "http://www.w3.org/2000/svg"}
        svg = ET.Element("svg", namespace | self._svg.attrib | size | view)
        ET.SubElement(svg, "style").text = STYLE
        corner = {"x": str(-_MARGIN), "y": str(-_MARGIN)}
        ET.SubElement(svg, "rect", {"class": "paper"} | corner | size)
        svg.extend(self._svg)
        return ET.tostring(svg, encoding="unicode") + "\n"

    @cached_property
    def _svg(self) -> ET.Element:
        specification = self.chart.to_dict(validate=False) | {"config": _CONFIG}
        text = vl_convert.vegalite_to_svg(_to_printable(specification), vl_version="6.4")
        size = {"width": f"{self.width:g}", "height": f"{self.height:g}"}
        view = {"viewBox": f"0 0 {self.width:g} {self.height:g}"}
        attributes = {"class": "figure", "role": "img", "aria-label": _to_printable(self.label)}
        svg = ET.Element("svg", attributes | size | view)
        svg.extend(ET.fromstring(re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)))  # noqa: S314, ours
        _simplify(svg)
        return svg


def build_figure(
    layers: Sequence[alt.Chart],
    label: str,
    width: float,
    height: float,
    *,
    below: alt.LayerChart | alt.FacetChart | None = None,
    left: float = 0,
    right: float = 0,
    top: float = 0,
    bottom: float = 0,
) -> Figure:
    """Return a figure of charts on top of each other.

    Args:
        layers: charts with common axes.
        label: description for screen readers.
        width: width of the figure in pixels.
        height: height of the figure in pixels.
        below: another chart with its own size, ``GAP`` pixels below.
        left: distance of the plot area from the left edge.
        right: distance of the plot area from the right edge.
        top: distance of the plot area from the upper edge.
        bottom: distance of the plot area from the lower edge.

    Returns:
        Figure of ``width`` by ``height`` pixels; SVG is rendered when it is first needed.
    """
    area = {"width": width - left - right, "height": height - top - bottom}
    chart = alt.layer(*layers).properties(**area)
    if below:
        chart = alt.vconcat(chart, below, spacing=GAP, bounds="flush").resolve_scale(
            x="independent", y="independent", color="independent"
        )
    padding = {"left": left, "right": right, "top": top, "bottom": bottom}
    return Figure(chart.properties(padding=padding, autosize="none"), label, width, height)


def build_text_figure(lines: Sequence[str], width: float) -> Figure:
    """Return a figure of text alone.

    Args:
        lines: the text; long lines are wrapped.
        width: width of the figure in pixels.

    Returns:
        Figure as high as its wrapped lines; the text is also the description for screen readers.
    """
    wrapped = wrap_lines(lines, width)
    height = LINE_HEIGHT * len(wrapped) + 4
    return build_figure(draw_lines(wrapped, 0, 0), " ".join(lines), width, height)


def build_chart(records: Sequence[Mapping[str, Any]]) -> alt.Chart:
    """Return a chart of records.

    Args:
        records: values by name of the field.

    Returns:
        Chart with the records as inline JSON data, still without mark and encoding.
    """
    values = json.dumps(_to_printable(list(records)))  # Altair copies text faster than lists
    return alt.Chart(alt.Data(values=values, format=alt.DataFormat(type="json")))


def draw_text(text: str, x: float, y: float, **style: Any) -> alt.Chart:
    """Return a layer with one line of text.

    Args:
        text: the line.
        x: pixels from the left edge of the plot area.
        y: pixels from its upper edge.
        **style: properties of the text mark.

    Returns:
        Layer to pass to ``build_figure``.
    """
    mark: alt.Chart = build_chart([{}]).mark_text(**style)
    return mark.encode(x=alt.XValue(x), y=alt.YValue(y), text=alt.TextValue(text))


def wrap_lines(lines: Sequence[str], width: float) -> list[str]:
    """Return lines that fit into a figure.

    Args:
        lines: lines of any length.
        width: width of the figure in pixels.

    Returns:
        Lines of at most ``width / CHAR_WIDTH`` characters. Empty lines are left out.
    """
    return [part for line in lines for part in textwrap.wrap(line, int(width / CHAR_WIDTH))]


def draw_lines(lines: Sequence[str], x: float, y: float) -> list[alt.Chart]:
    """Return layers with lines of text; all but the first are soft.

    Args:
        lines: lines that fit into the figure.
        x: pixels from the left edge of the plot area to the lines.
        y: pixels from its upper edge to the upper edge of the first line.

    Returns:
        One layer per line, ``LINE_HEIGHT`` pixels apart.
    """
    return [
        draw_text(line, x, y + 9 + LINE_HEIGHT * index, fill=SOFT if index else INK)
        for index, line in enumerate(lines)
    ]


def measure_legend(legend: Legend, width: float) -> tuple[int, float]:
    """Return the number of columns of a legend, and its height in pixels.

    Args:
        legend: the entries.
        width: width of the figure in pixels.

    Returns:
        At least one column, and a height of 0 if there are no entries.
    """
    longest = max((len(name) for name, _ in legend), default=0)
    columns = max(1, min(len(legend), int(width / (min(150, longest * CHAR_WIDTH) + 34))))
    return columns, 16 * math.ceil(len(legend) / columns) + 18 if legend else 0


def build_color(field: str, legend: Legend, width: float, *, left: float, top: float) -> alt.Color:
    """Return the colours of a field, with a legend at the upper edge of the figure.

    Args:
        field: field with names of the legend.
        legend: the entries.
        width: width of the figure in pixels.
        left: distance of the plot area from the left edge.
        top: distance of the plot area from the upper end of the legend.

    Returns:
        Encoding of a nominal field; the legend's entries are its domain, in their order.
    """
    style = alt.Legend(
        orient="none",
        title=None,
        legendX=-left,
        legendY=6 - top,
        columns=measure_legend(legend, width)[0],
        direction="horizontal",
        columnPadding=20,
        rowPadding=5,
        symbolType="circle",
    )
    names, colors = [name for name, _ in legend], [color for _, color in legend]
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=names, range=colors), legend=style)


def build_number_axis(tick_count: int = 4) -> alt.Axis:
    """Return a vertical axis of numbers without a title.

    Args:
        tick_count: wanted number of ticks.

    Returns:
        Axis for a ``y`` encoding. Vega-Lite may choose another number of ticks.
    """
    return alt.Axis(title=None, tickCount=tick_count)


def build_round_axis(first: int, last: int, title: str | None = None) -> alt.X:
    """Return a horizontal axis with at most about ten rounds.

    Args:
        first: first round; 0 is called start.
        last: last round.
        title: title of the axis.

    Returns:
        ``x`` encoding of the field ``round``, with ticks at the rounds of ``choose_rounds``.
    """
    axis = alt.Axis(
        title=title,
        grid=False,
        format="d",
        values=choose_rounds(first, last),
        labelExpr="datum.value ? datum.label : 'start'",
    )
    return alt.X("round:Q", scale=alt.Scale(domain=[first, last], nice=False, padding=8), axis=axis)


def choose_rounds(first: int, last: int) -> list[int]:
    """Return at most about ten round numbers between the first and the last.

    Args:
        first: first round.
        last: last round.

    Returns:
        Multiples of 1, 2, 5, 10 and so on from ``first`` to ``last``, both included.
    """
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if (last - first) / s <= 10)
    return [r for r in range(first, last + 1) if r % step == 0]


def _simplify(svg: ET.Element) -> None:
    """Turn descriptions of marks into tooltips, round coordinates, drop what only Vega needs."""
    for parent in list(svg.iter()):
        for child in list(parent):
            if child.get("class") in ("background", "foreground"):
                parent.remove(child)
    for element in list(svg.iter())[1:]:
        if tip := element.get("aria-label"):
            ET.SubElement(element, "title").text = tip
        for name in ("aria-label", *_VEGA_ATTRIBUTES):
            element.attrib.pop(name, None)
        for name in set(_GEOMETRY_ATTRIBUTES) & element.attrib.keys():
            element.set(name, re.sub(r"\d+\.\d+", _round_number, element.attrib[name]))
        if element.tag == "g":
            element.attrib.pop("class", None)


def _round_number(match: re.Match[str]) -> str:
    return f"{float(match[0]):.1f}".removesuffix(".0")


def _to_printable(value: Any) -> Any:
    """Return a value with spaces in place of characters that XML cannot hold.

    Characters beyond U+FFFF, such as emoji, become U+FFFD: vl-convert fails where it cuts a long
    text between the two halves that such a character has in UTF-16.
    """
    if isinstance(value, dict):
        return {key: _to_printable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_to_printable(each) for each in value]
    if isinstance(value, str):
        printable = (c if c.isprintable() or c == "\u202f" else " " for c in value)
        return "".join(c if c <= "\uffff" else "\ufffd" for c in printable)
    return value

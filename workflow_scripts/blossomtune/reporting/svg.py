"""A small canvas that writes SVG: every coordinate rounded, every text escaped."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path

from markupsafe import Markup

STYLE = (Path(__file__).parent / "figure.css").read_text(encoding="utf-8")
WIDE_WIDTH = 696.0
"""Width of a figure in pixels where there is room for it."""
CHAR_WIDTH = 6.6
"""Mean width of a character of the figures' 12-pixel type, a little generous."""

_MARGIN = 24.0


class Canvas:
    """An SVG image whose looks come from the classes of figure.css."""

    def __init__(self, width: float, height: float, label: str) -> None:
        """An empty image.

        Args:
            width: in pixels.
            height: in pixels.
            label: what the figure shows, for those who cannot see it.
        """
        self._root = ET.Element("svg", role="img")
        self._root.set("aria-label", _strip_control_characters(label))
        self._root.set("class", "figure")
        self.width = width
        self.resize(height)

    def resize(self, height: float) -> None:
        """Gives the image another height."""
        self.height = height
        box = {"viewBox": f"0 0 {_format_coordinate(self.width)} {_format_coordinate(height)}"}
        self._root.attrib |= box | {
            "width": _format_coordinate(self.width),
            "height": _format_coordinate(height),
        }

    def text(
        self,
        x: float,
        y: float,
        text: str,
        kind: str = "",
        *,
        anchor: str = "start",
        room: float = 0,
    ) -> None:
        """Writes a line; one longer than ``room`` pixels is cut, with the whole as its tooltip."""
        text, fits = _strip_control_characters(text), int(room // CHAR_WIDTH)
        element = self._add("text", x=x, y=y, kind=f"{kind} {anchor}".strip())
        if room and len(text) > fits:
            element.text = text[: max(1, fits - 1)].rstrip() + "…"
            ET.SubElement(element, "title").text = text
        else:
            element.text = text

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """Draws a straight line."""
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, kind=kind)

    def path(self, points: list[tuple[float, float]], kind: str) -> None:
        """Draws a line through points."""
        element = self._add("polyline", kind=kind)
        element.set(
            "points",
            " ".join(f"{_format_coordinate(x)},{_format_coordinate(y)}" for x, y in points),
        )

    def dot(self, x: float, y: float, kind: str, tip: str = "", radius: float = 4) -> None:
        """Draws a point, with a tooltip."""
        self._tip(self._add("circle", cx=x, cy=y, r=radius, kind=kind), tip)

    def bar(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        kind: str,
        tip: str = "",
        opacity: float = 1,
    ) -> None:
        """Draws a filled rectangle, with a tooltip."""
        box = {"x": x, "y": y, "width": max(0, width), "height": max(0, height)}
        element = self._add("rect", kind=kind, **box)
        if opacity < 1:
            element.set("opacity", f"{opacity:.2f}")
        self._tip(element, tip)

    def boxes(self, boxes: list[tuple[float, float, float, float]], kind: str, tip: str) -> None:
        """Draws many filled rectangles (x, y, width, height) as one shape, with one tooltip."""
        element = self._add("path", kind=kind)
        drawn = (
            f"M{_format_coordinate(x)} {_format_coordinate(y)}h{_format_coordinate(w)}v{_format_coordinate(h)}h{_format_coordinate(-w)}z"
            for x, y, w, h in boxes
            if h >= 0.05
        )
        element.set("d", "".join(drawn))
        self._tip(element, tip)

    def inline(self) -> Markup:
        """As a part of an HTML page that has figure.css in its style."""
        return Markup(ET.tostring(self._root, encoding="unicode"))  # noqa: S704, written by ET

    def standalone(self) -> str:
        """As a file of its own, with a margin."""
        width, height = self.width + 2 * _MARGIN, self.height + 2 * _MARGIN
        box = {"width": _format_coordinate(width), "height": _format_coordinate(height)}
        place = {"x": _format_coordinate(-_MARGIN), "y": _format_coordinate(-_MARGIN)}
        whole = ET.Element(
            "svg",
            {"xmlns": "http://www.w3.org/2000/svg", **self._root.attrib, **box}
            | {
                "viewBox": f"{_format_coordinate(-_MARGIN)} {_format_coordinate(-_MARGIN)} {_format_coordinate(width)} {_format_coordinate(height)}"
            },
        )
        ET.SubElement(whole, "style").text = STYLE
        ET.SubElement(whole, "rect", {"class": "paper", **place, **box})
        whole.extend(self._root)
        return ET.tostring(whole, encoding="unicode") + "\n"

    def _add(self, tag: str, kind: str, **numbers: float) -> ET.Element:
        attributes = {name: _format_coordinate(value) for name, value in numbers.items()}
        return ET.SubElement(self._root, tag, attributes | {"class": kind})

    @staticmethod
    def _tip(element: ET.Element, tip: str) -> None:
        if tip:
            ET.SubElement(element, "title").text = _strip_control_characters(tip)


def compute_ticks(high: float, wanted: int = 4) -> list[float]:
    """Round numbers from 0 to the first at or above ``high``, about ``wanted`` steps apart."""
    if not math.isfinite(high) or high <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(high / wanted))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power * wanted >= high * 0.999)
    return [i * step for i in range(math.ceil(high / step - 1e-9) + 1)]


def compute_ticks_near(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers around an interval, which need not start at 0: for what has no length."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return [0.0, 1.0]
    span = max(high - low, 1e-3 * abs(high), 1e-9)
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(m * power for m in (1, 2, 5, 10, 20) if m * power * wanted >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def compute_round_ticks(first: int, last: int) -> list[int]:
    """At most about ten round numbers between the first and the last."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if (last - first) / s <= 10)
    return [r for r in range(first, last + 1) if r % step == 0]


def place_labels(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels: in their order, ``gap`` apart, near where they want to be.

    Args:
        wanted: a coordinate a label, in any order.
        gap: smallest distance of two labels.
        low: the first place that may be used.
        high: the last place that may be used; crowded labels go beyond it.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    limit = high + gap
    for i in reversed(order):  # from below upwards, none lower than the floor allows
        limit = placed[i] = min(wanted[i], limit - gap)
    limit = low - gap
    for i in order:
        limit = placed[i] = max(placed[i], limit + gap)
    return placed


def _format_coordinate(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _strip_control_characters(text: str) -> str:
    """Without control characters, which XML has no way to write."""
    return "".join(c if c.isprintable() or c == "\u202f" else " " for c in text)

"""Drift: what is lost where low-rank factors are averaged, by round and by layer."""

import math
import re
from statistics import fmean

from blossomtune.artifacts.round_record import LayerDrift
from blossomtune.reporting import formatting
from blossomtune.reporting.bars import draw_legend, layout_legend
from blossomtune.reporting.drift_summary import (
    _format_share,
    _Points,
    average_over_layers,
    describe_drift,
    rounds_with_drift,
)
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.svg import Canvas, compute_round_ticks, compute_ticks

_KINDS = {"average": "drift-average", "best": "drift-best"}


_NOT_MEASURED = "Drift was not measured in this run."


_HEIGHT, _CELL = 150, 17  # pixels of the lines, and of a line of the strip


_ORDER = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split()  # noqa: SIM905


def draw_drift(e: ExperimentResults, width: float) -> Canvas:
    """By round as lines; for the last round by layer, as a strip for each kind of layer."""
    rounds = rounds_with_drift(e)
    if not rounds:
        canvas = Canvas(width, 40, _NOT_MEASURED)
        canvas.text(0, 24, _NOT_MEASURED, "soft")
        return canvas
    names = {"average": "plain averaging", "best": f"best of rank {e.config['lora']['r']}"}
    lines = {what: average_over_layers(rounds, what) for what in _KINDS}
    shown = [(_KINDS[what], names[what]) for what in lines if lines[what]]
    strips = _Strips(rounds[-1].drift or {})
    top = layout_legend(shown, width)[1] + 26
    below = top + _HEIGHT + 62
    canvas = Canvas(width, below + strips.height, " ".join(describe_drift(e)))
    draw_legend(canvas, shown)
    _draw_lines(canvas, lines, names, top)
    strips.draw(canvas, below, rounds[-1].round)
    return canvas


def _draw_lines(
    canvas: Canvas, lines: dict[str, _Points], names: dict[str, str], top: float
) -> None:
    left, right, bottom = 44.0, canvas.width - 14, top + _HEIGHT
    points = [point for found in lines.values() for point in found]
    first, last = min(r for r, _ in points), max(r for r, _ in points)
    scale = compute_ticks(max(max(v for _, v in points), 0.01), 3)

    def x(number: float) -> float:
        return left + 6 + (right - left - 6) * (number - first) / max(1, last - first)

    def y(value: float) -> float:
        return bottom - _HEIGHT * value / scale[-1]

    canvas.text(0, top - 12, "share of ΔW* that is missed, mean over layers", "soft small")
    for tick in scale:
        canvas.line(left, y(tick), right, y(tick), "grid")
        text = formatting.format_percent(tick, 0 if scale[1] >= 0.01 else 1)
        canvas.text(left - 8, y(tick) + 4, text, "soft small", anchor="end")
    for number in compute_round_ticks(first, last):
        canvas.text(x(number), bottom + 18, str(number), "soft small", anchor="middle")
    canvas.text((left + right) / 2, bottom + 34, "round", "soft small", anchor="middle")
    for what, found in lines.items():
        canvas.path([(x(r), y(v)) for r, v in found], _KINDS[what])
        for r, v in found if len(found) <= 30 else []:
            tip = f"{names[what]}, round {r}: {_format_share(v)}"
            canvas.dot(x(r), y(v), f"{_KINDS[what]}-fill", tip, radius=3.5)


class _Strips:
    """A line for each kind of layer, a cell for each depth; the darker, the more is missed."""

    def __init__(self, layers: dict[str, LayerDrift]) -> None:
        cells: dict[tuple[str, int], list[float]] = {}
        self.what = "average" if any(v.average for v in layers.values()) else "best"
        for name, layer in layers.items():
            value = getattr(layer, self.what)
            if value is not None and math.isfinite(value):
                cells.setdefault(_split_layer_name(name), []).append(value)
        self.cells = {place: fmean(values) for place, values in cells.items()}
        kinds = {kind for kind, _ in self.cells}
        self.kinds = [k for k in _ORDER if k in kinds] + sorted(kinds - set(_ORDER))
        self.depths = sorted({depth for _, depth in self.cells})
        self.height = 26 + _CELL * len(self.kinds) + 34 if self.cells else 0

    def draw(self, canvas: Canvas, top: float, number: int) -> None:
        """Draws them from ``top`` downwards."""
        if not self.cells:
            return
        what = {"average": "plain averaging", "best": "the best of its rank"}[self.what]
        canvas.text(0, top + 4, f"by layer, {what} in round {number}", "soft small")
        left, top = min(110.0, canvas.width * 0.27), top + 18
        pitch = min(40.0, (canvas.width - left) / len(self.depths))
        most = max(self.cells.values()) or 1.0
        for line, kind in enumerate(self.kinds):
            y = top + _CELL * line
            canvas.text(0, y + 12, kind, "small", room=left - 8)
            for column, depth in enumerate(self.depths):
                value = self.cells.get((kind, depth))
                if value is not None:
                    tip = f"{kind}, layer {depth}: {_format_share(value)}"
                    box = (left + pitch * column, y, max(1.0, pitch - 1), _CELL - 1)
                    canvas.bar(
                        *box, f"{_KINDS[self.what]}-fill", tip, opacity=0.06 + 0.94 * value / most
                    )
        self._axis(canvas, left, pitch, top + _CELL * len(self.kinds), most)

    def _axis(self, canvas: Canvas, left: float, pitch: float, y: float, most: float) -> None:
        for column in range(0, len(self.depths), max(1, math.ceil(26 / pitch))):
            place = left + pitch * (column + 0.5)
            canvas.text(place, y + 14, str(self.depths[column]), "soft small", anchor="middle")
        canvas.text(0, y + 14, "depth", "soft small")
        canvas.text(0, y + 32, f"darkest: {_format_share(most)}", "soft small")


def _split_layer_name(name: str) -> tuple[str, int]:
    """Kind and depth of a layer: ("q_proj", 3) of "layers.3.self_attn.q_proj"."""
    depth = re.search(r"\.(\d+)\.", f".{name}.")
    return name.rpartition(".")[2], int(depth[1]) if depth else 0

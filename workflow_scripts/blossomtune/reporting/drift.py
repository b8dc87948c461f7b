"""Plot the drift by round and by layer."""

import math
import re
from collections.abc import Mapping
from statistics import fmean

import altair as alt

from blossomtune.artifacts.round_record import LayerDrift
from blossomtune.reporting import charts
from blossomtune.reporting.charts import Figure
from blossomtune.reporting.drift_summary import (
    average_over_layers,
    describe_drift,
    format_share,
    rounds_with_drift,
)
from blossomtune.reporting.load import ExperimentResults

_COLORS = {"average": charts.ACCENT, "best": charts.PALETTE[0]}
_HEIGHT, _CELL, _LEFT = 150, 17, 44
_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""Modules in the order in which a layer applies them."""


def draw_drift(e: ExperimentResults, width: float) -> Figure:
    """Return the mean drift by round, and the last round's drift by layer.

    Args:
        e: the experiment.
        width: width of the figure in pixels.

    Returns:
        Lines over rounds above a grid of modules and depths, both as shares of the norm of ΔW*.
        Text alone if drift was not measured.
    """
    rounds = rounds_with_drift(e)
    if not rounds:
        return charts.build_text_figure(["Drift was not measured in this run."], width)
    names = {"average": "plain averaging", "best": f"best of rank {e.config['lora']['r']}"}
    points = {measure: average_over_layers(rounds, measure) for measure in names}
    legend = [(names[measure], _COLORS[measure]) for measure in names if points[measure]]
    records = [
        {"round": number, "share": share, "name": names[measure]}
        | {"tip": f"{names[measure]}, round {number}: {format_share(share)}"}
        for measure, shares in points.items()
        for number, share in shares
    ]
    top = charts.measure_legend(legend, width)[1] + 26
    highest = max(share for measure in points.values() for _, share in measure)
    highest = max(0.01, highest * 1.05)
    percent = "format(datum.value * 100, '~g') + '\u202f%'"
    line = charts.build_chart(records).encode(
        x=charts.build_round_axis(rounds[0].round, rounds[-1].round, title="round"),
        y=alt.Y(
            "share:Q",
            scale=alt.Scale(domain=[0, highest], nice=False),
            axis=alt.Axis(title=None, tickCount=3, labelExpr=percent),
        ),
        color=charts.build_color("name", legend, width, left=_LEFT, top=top),
    )
    layers = [
        charts.draw_text(
            "share of ΔW* that is missed, mean over layers", -_LEFT, -12, **charts.SMALL
        ),
        line.mark_line(strokeWidth=2.5, strokeCap="round", strokeJoin="round"),
    ]
    dots = line.mark_circle(aria=True, size=40 if len(rounds) <= 30 else 0, opacity=1)
    layers.append(dots.encode(description=alt.Description("tip:N")))
    strips = _draw_strips(rounds[-1].drift or {}, rounds[-1].round, width)
    bottom = charts.GAP + strips.height + 40 if strips else 40
    return charts.build_figure(
        layers,
        " ".join(describe_drift(e)),
        width,
        top + _HEIGHT + bottom,
        below=strips,
        left=_LEFT,
        right=14,
        top=top,
        bottom=bottom,
    )


def _draw_strips(
    layers: Mapping[str, LayerDrift], number: int, width: float
) -> alt.LayerChart | alt.FacetChart | None:
    """Return a row per module with a cell per depth; the darker, the more is missed."""
    measure = "average" if any(layer.average for layer in layers.values()) else "best"
    shares: dict[tuple[str, int], list[float]] = {}
    for name, layer in layers.items():
        share = getattr(layer, measure)
        if share is not None and math.isfinite(share):
            shares.setdefault(_split_layer_name(name), []).append(share)
    if not shares:
        return None
    means = {place: fmean(values) for place, values in shares.items()}
    names = {module for module, _ in means}
    modules = [m for m in _MODULES if m in names] + sorted(names - set(_MODULES))
    depths = sorted({depth for _, depth in means})
    highest, left = max(means.values()) or 1.0, min(110.0, width * 0.27)
    plot_width = min(40.0 * len(depths), width - left)
    height = _CELL * len(modules)
    records = [
        {"module": module, "depth": depth, "opacity": 0.06 + 0.94 * share / highest}
        | {"tip": f"{module}, layer {depth}: {format_share(share)}"}
        for (module, depth), share in means.items()
    ]
    step = max(1, math.ceil(26 * len(depths) / plot_width))
    rows = alt.Y("module:N", axis=None, scale=alt.Scale(domain=modules))
    columns = alt.Scale(range=[left - _LEFT, left - _LEFT + plot_width], domain=depths)
    cells = charts.build_chart(records).encode(
        x=alt.X(
            "depth:O",
            scale=columns,
            axis=alt.Axis(title=None, values=depths[::step], labelAngle=0, grid=False),
        ),
        y=rows,
        opacity=alt.Opacity("opacity:Q", scale=None),
        description=alt.Description("tip:N"),
    )
    labels = charts.build_chart([{"module": module} for module in modules])
    share_name = {"average": "plain averaging", "best": "the best of its rank"}[measure]
    caption = f"by layer, {share_name} in round {number}"
    return alt.layer(
        cells.mark_rect(aria=True, fill=_COLORS[measure], stroke=charts.PAPER, strokeWidth=1),
        labels.mark_text(fontSize=11, limit=left - 8).encode(
            x=alt.XValue(-_LEFT), y=rows, text=alt.Text("module:N")
        ),
        charts.draw_text(caption, -_LEFT, -14, **charts.SMALL),
        charts.draw_text("depth", -_LEFT, height + 14, **charts.SMALL),
        charts.draw_text(f"darkest: {format_share(highest)}", -_LEFT, height + 32, **charts.SMALL),
    ).properties(width=width - _LEFT, height=height)


def _split_layer_name(name: str) -> tuple[str, int]:
    """Return module and depth of a layer: ("q_proj", 3) for "layers.3.self_attn.q_proj"."""
    depth = re.search(r"\.(\d+)\.", f".{name}.")
    return name.rpartition(".")[2], int(depth[1]) if depth else 0

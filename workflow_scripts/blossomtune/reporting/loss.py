"""Plot the losses by round."""

import math
from typing import Any

import altair as alt

from blossomtune.reporting import charts, formatting
from blossomtune.reporting.charts import Figure
from blossomtune.reporting.load import ExperimentResults

_MAX_NAMED_CLIENTS = 8  # with more of them, lines have no room for names
_MAX_DOTS = 12  # with more points, a dot for each would hide the line
_HEIGHT, _TOP, _BOTTOM, _LEFT, _LABEL_GAP = 310, 42, 42, 34, 14
_STYLES: dict[str, dict[str, Any]] = {
    "client": {"stroke": charts.NEUTRAL, "strokeWidth": 1.25, "opacity": 0.7},
    "mean": {"stroke": charts.INK, "strokeWidth": 2, "strokeDash": [1, 4.5]},
    "clients' evaluation": {"stroke": charts.PALETTE[0], "strokeWidth": 2.25},
    "server's evaluation": {"stroke": charts.ACCENT, "strokeWidth": 2.75},
}
_DOT_SIZES = dict(zip(_STYLES, (20, 28, 50, 64), strict=True))

_Line = tuple[str, str, list[tuple[int, float]]]


def draw_loss(e: ExperimentResults, width: float) -> Figure:
    """Return the losses of server and clients by round.

    Args:
        e: the experiment.
        width: width of the figure in pixels.

    Returns:
        Lines in nats per completion token: training loss per client and on average, and held-out
        loss. Losses that are not finite are left out.
    """
    lines = _collect_lines(e)
    last = max(1, max(r.round for r in e.history.rounds))
    first = 0 if any(points[0][0] == 0 for *_, points in lines) else 1
    highest = max((loss for *_, points in lines for _, loss in points), default=0) * 1.05 or 1.0
    room = min(150.0, width * 0.32)
    plot_width, plot_height = width - room - _LEFT, _HEIGHT - _TOP - _BOTTOM
    x = charts.build_round_axis(first, last, title="round")
    y = alt.Y("loss:Q", scale=alt.Scale(domain=[0, highest]), axis=charts.build_number_axis())
    layers = [
        charts.draw_text("loss, nats per token of the completion", -_LEFT, -30, **charts.SMALL)
    ]
    for number, text in _label_rounds(e).items():
        mark = charts.build_chart([{"round": number}]).encode(x=x)
        label = mark.mark_text(align="center", fontSize=11)
        layers.append(mark.mark_rule(stroke=charts.SOFT, strokeDash=[3, 3]))
        layers.append(label.encode(y=alt.YValue(-10), text=alt.TextValue(text)))
    shows_names = len(e.partition.clients) <= _MAX_NAMED_CLIENTS
    named = [line for line in lines if line[0] != "client" or shows_names]
    pixels = [plot_height * points[-1][1] / highest for *_, points in named]
    places = place_labels(pixels, _LABEL_GAP, 0, plot_height)
    for kind, style in _STYLES.items():
        records = [
            {"round": r, "loss": v, "name": name, "tip": _format_tip(name, r, v)}
            for each, name, points in lines
            if each == kind
            for r, v in points
        ]
        line = charts.build_chart(records).encode(x=x, y=y)
        style = {"strokeCap": "round", "strokeJoin": "round"} | style
        layers.append(line.mark_line(**style).encode(detail=alt.Detail("name:N")))
        if last - first < _MAX_DOTS:
            dots = line.mark_circle(aria=True, fill=style["stroke"], size=_DOT_SIZES[kind])
            layers.append(
                dots.encode(opacity=alt.OpacityValue(1), description=alt.Description("tip:N"))
            )
        ends = [
            {"round": points[-1][0], "loss": points[-1][1], "name": name}
            | {"place": place * highest / plot_height}
            for (each, name, points), place in zip(named, places, strict=True)
            if each == kind
        ]
        end = charts.build_chart(ends)
        lead = end.mark_rule(stroke=charts.RULE)
        layers.append(lead.encode(x=x, x2=alt.X2Value(plot_width + 12), y=y, y2=alt.Y2("place:Q")))
        is_client = kind == "client"
        text = end.mark_text(
            fill=charts.SOFT if is_client else style["stroke"],
            aria=True,
            fontSize=11,
            fontWeight=400 if is_client else 600,
            limit=0.9 * room - 16,  # the reader's font may be wider
        )
        layers.append(
            text.encode(
                x=alt.XValue(plot_width + 16),
                y=alt.Y("place:Q"),
                text=alt.Text("name:N"),
                description=alt.Description("name:N"),
            )
        )
    ranges = [
        f"{name} {formatting.format_number(p[0][1])} to {formatting.format_number(p[-1][1])}"
        for _, name, p in reversed(lines)
    ]
    label = f"Loss, first to last round: {', '.join(ranges)}."
    return charts.build_figure(
        layers, label, width, _HEIGHT, left=_LEFT, right=room, top=_TOP, bottom=_BOTTOM
    )


def place_labels(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Return places of labels that keep their order and their distance.

    Args:
        wanted: coordinate of each label, in any order.
        gap: smallest distance of two labels.
        low: first place that may be used.
        high: last place that may be used; crowded labels go beyond it.

    Returns:
        Coordinate of each label, in the order of ``wanted``.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    limit = high + gap
    for i in reversed(order):
        limit = placed[i] = min(wanted[i], limit - gap)
    limit = low - gap
    for i in order:
        limit = placed[i] = max(placed[i], limit + gap)
    return placed


def _format_tip(name: str, number: int, loss: float) -> str:
    round_name = f"round {number}" if number else "start"
    return f"{name}, {round_name}: {formatting.format_number(loss)}"


def _collect_lines(e: ExperimentResults) -> list[_Line]:
    """Return kind, name, and round and loss of every line with a point."""
    rounds = e.history.rounds
    lines: list[_Line] = []
    for client in e.partition.clients:
        points = [
            (r.round, c.train_loss) for r in rounds for c in r.clients if c.client == client.client
        ]
        lines.append(("client", client.name, points))
    mean = [(r.round, r.train_loss) for r in rounds if r.train_loss is not None]
    server = [(r.round, r.evaluation.loss) for r in rounds if r.evaluation]
    lines += [
        ("mean", "training, mean", mean),
        ("clients' evaluation", "own held-out", e.history.federated_losses),
        ("server's evaluation", "held-out", server),
    ]
    lines = [(k, n, [p for p in points if math.isfinite(p[1])]) for k, n, points in lines]
    return [line for line in lines if line[2]]


def _label_rounds(e: ExperimentResults) -> dict[int, str]:
    """Return labels of the best and the result's round, unless both are the last one."""
    best, result = e.history.best_round, e.history.result_round
    if best is None or best == result == e.history.rounds[-1].round:
        return {}
    return {best: "best, result"} if best == result else {best: "best", result: "result"}

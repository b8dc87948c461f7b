"""Plot the bytes that were moved by round."""

import altair as alt

from blossomtune.reporting import charts, formatting
from blossomtune.reporting.charts import Figure
from blossomtune.reporting.load import ExperimentResults

_DIRECTIONS = [
    ("server to clients, MB", charts.PALETTE[5]),
    ("clients to server, MB", charts.PALETTE[0]),
]
_HEIGHT, _LEFT, _BOTTOM = 150, 40, 40


def draw_traffic(e: ExperimentResults, width: float) -> Figure:
    """Return the bytes from server to clients and back, by round.

    Args:
        e: the experiment.
        width: width of the figure in pixels.

    Returns:
        Stacked columns in MB (10^6 bytes), one per round: to the clients, and to the server.
    """
    rounds = [r for r in e.history.rounds if r.bytes_moved] or e.history.trained_rounds
    top = charts.measure_legend(_DIRECTIONS, width)[1] + 8
    numbers = [r.round for r in rounds]
    records = [
        {"round": r.round, "direction": direction, "megabytes": size / 1e6, "order": order}
        | {"tip": f"round {r.round}: {formatting.format_bytes(size)} to {receiver}"}
        for r in rounds
        for order, ((direction, _), size, receiver) in enumerate(
            zip(_DIRECTIONS, (r.bytes_down, r.bytes_up), ("clients", "server"), strict=True)
        )
    ]
    labels = charts.choose_rounds(numbers[0], numbers[-1]) if numbers else []
    bars = (
        charts.build_chart(records)
        .mark_bar(aria=True, stroke=charts.PAPER, strokeWidth=0.5, width={"band": 0.62})
        .encode(
            x=alt.X(
                "round:O",
                scale=alt.Scale(domain=numbers),
                axis=alt.Axis(title="round", values=labels, labelAngle=0),
            ),
            y=alt.Y("megabytes:Q", stack=True, axis=charts.build_number_axis(3)),
            color=charts.build_color("direction", _DIRECTIONS, width, left=_LEFT, top=top),
            order=alt.Order("order:Q"),
            description=alt.Description("tip:N"),
        )
    )
    moved = formatting.format_bytes(sum(r.bytes_moved for r in rounds))
    label = f"{moved} moved in {formatting.format_amount(len(rounds), 'round')}."
    height = top + _HEIGHT + _BOTTOM
    return charts.build_figure([bars], label, width, height, left=_LEFT, top=top, bottom=_BOTTOM)

"""The figure of what travelled."""

from blossomtune.reporting import formatting
from blossomtune.reporting.bars import draw_legend, layout_legend
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.svg import Canvas, compute_round_ticks, compute_ticks


def draw_traffic(e: ExperimentResults, width: float) -> Canvas:
    """Bytes from server to clients and back, by round."""
    records = [
        r for r in e.history.rounds if r.bytes_down or r.bytes_up
    ] or e.history.trained_rounds
    legends = [("c5", "server to clients, MB"), ("c0", "clients to server, MB")]
    top, bottom, left = layout_legend(legends, width)[1] + 8, 40, 40
    height = top + 150 + bottom
    total = sum(r.bytes_down + r.bytes_up for r in records)
    said = f"{formatting.format_bytes(total)} moved in {formatting.format_amount(len(records), 'round')}."
    canvas = Canvas(width, height, said)
    scale = compute_ticks(max(((r.bytes_down + r.bytes_up) / 1e6 for r in records), default=1.0), 3)

    def y(value: float) -> float:
        return height - bottom - (height - bottom - top) * value / scale[-1]

    for tick in scale:
        canvas.line(left, y(tick), width, y(tick), "grid")
        canvas.text(
            left - 8,
            y(tick) + 4,
            formatting.format_setting(round(tick, 9)),
            "soft small",
            anchor="end",
        )
    draw_legend(canvas, legends)
    slot = (width - left) / max(1, len(records))
    thick = min(64.0, slot * 0.62)
    shown = compute_round_ticks(records[0].round, records[-1].round) if records else []
    for position, r in enumerate(records):
        middle = left + slot * (position + 0.5)
        down, up = r.bytes_down / 1e6, r.bytes_up / 1e6
        tip = f"round {r.round}: {formatting.format_bytes(r.bytes_down)} to clients"
        canvas.bar(middle - thick / 2, y(down), thick, y(0) - y(down), "c5", tip)
        tip = f"round {r.round}: {formatting.format_bytes(r.bytes_up)} to server"
        canvas.bar(middle - thick / 2, y(down + up), thick, y(down) - y(down + up) - 1, "c0", tip)
        if r.round in shown:
            canvas.text(middle, height - bottom + 18, str(r.round), "soft small", anchor="middle")
    canvas.text((left + width) / 2, height - 4, "round", "soft small", anchor="middle")
    return canvas

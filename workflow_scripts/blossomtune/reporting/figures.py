"""The figures, drawn at any width: the page has each one wide and narrow."""

import math
from collections.abc import Callable

from blossomtune.reporting import words
from blossomtune.reporting.bars import Bar, bars, flow, legend
from blossomtune.reporting.inputs import Experiment, Group, Interval, Stage
from blossomtune.reporting.svg import Canvas, spread, ticks

Figure = Callable[[float], Canvas]
"""Draws itself at a width in pixels."""

_NAMED_CLIENTS = 8  # with more of them, lines have no room for names
_DOTS = 12  # with more rounds, a dot for each would hide the line
_ROWS = 24  # rows of a chart; tables beside it show all of them


def of_experiment(e: Experiment) -> dict[str, Figure]:
    """The figures of one experiment, by name."""
    return {
        "outcome": lambda width: outcome(e, width),
        "loss": lambda width: loss(e, width),
        "traffic": lambda width: traffic(e, width),
    }


def outcome(e: Experiment, width: float) -> Canvas:
    """Accuracy (without choices: loss) of every model with its interval, overall and by value."""
    by_accuracy = e.base.accuracy is not None and e.federated.accuracy is not None

    def measure(group: Group) -> Interval | None:
        return group.accuracy if by_accuracy else group.loss

    values = sorted({v for m in e.metrics.values() for v in m.by or {}})
    values.sort(key=lambda v: -max(m.by[v].rows for m in e.metrics.values() if v in (m.by or {})))
    lines: list[tuple[str, int, list[tuple[int, str, Interval]]]] = []
    for value in [None, *values[: _ROWS - 1]]:
        found = []
        size = 0
        for index, name in enumerate(e.metrics):
            whole = e.metrics[name]
            group: Group | None = whole if value is None else (whole.by or {}).get(value)
            interval = measure(group) if group else None
            if group and interval and _finite(interval):
                size = max(size, group.rows)
                found.append((index, name, interval))
        if found:
            lines.append(("all" if value is None else value, size, found))

    spell = words.percent if by_accuracy else words.number
    what = "accuracy" if by_accuracy else "loss"
    legends = [(f"m{i % 6} m", name) for i, name in enumerate(e.metrics)]
    top, step, left = flow(legends, width)[1] + 6, 17, min(150.0, width * 0.3)
    height = top + sum(step * len(found) + 21 for _, _, found in lines) + 24
    overall = [(n, measure(m)) for n, m in e.metrics.items()]
    said = ", ".join(f"{name} {spell(i.value)}" for name, i in overall if i)
    canvas = Canvas(width, height, f"{words.capital(what)} on the held-out examples: {said}.")
    highest = max((i.high for _, _, found in lines for _, _, i in found), default=1.0)
    scale = [0, 0.25, 0.5, 0.75, 1.0] if by_accuracy else ticks(highest)
    right = width - 40

    def x(value: float) -> float:
        return left + (right - left) * min(value, scale[-1]) / scale[-1]

    for tick in scale:
        canvas.line(x(tick), top - 8, x(tick), height - 22, "grid")
        text = spell(tick) if by_accuracy else words.plain(round(tick, 9))
        canvas.text(x(tick), height - 6, text, "soft small", anchor="middle")
    legend(canvas, legends, dots=True)
    y = top + 8.0
    for label, size, found in lines:
        middle = y + step * (len(found) - 1) / 2
        canvas.text(0, middle, label, "strong" if label == "all" else "", room=left - 10)
        canvas.text(0, middle + 15, f"{words.count(size)} examples", "soft small")
        for index, name, i in found:
            kind = f"m{index % 6} m"
            tip = f"{name}, {label}: {spell(i.value)} ({spell(i.low)} to {spell(i.high)})"
            canvas.line(x(i.low), y, x(i.high), y, kind)
            canvas.dot(x(i.value), y, kind, tip, radius=5)
            canvas.text(x(i.high) + 8, y + 4, spell(i.value), f"{kind} small")
            y += step
        y += 21
    return canvas


def loss(e: Experiment, width: float) -> Canvas:
    """Loss by round: held-out, mean of training, and every client's."""
    lines: list[tuple[str, str, list[tuple[int, float]]]] = []
    for share in e.partition.clients:
        points = [
            (r.round, c.train_loss)
            for r in e.trained
            for c in r.clients
            if c.client == share.client
        ]
        lines.append(("client", share.name, points))
    mean = [(r.round, r.train_loss) for r in e.history.rounds if r.train_loss is not None]
    held = [(r.round, r.evaluation.loss) for r in e.history.rounds if r.evaluation is not None]
    lines += [("mean", "training, mean", mean), ("held", "held-out", held)]
    lines = [(k, n, [p for p in points if math.isfinite(p[1])]) for k, n, points in lines]
    lines = [line for line in lines if line[2]]

    height, top, bottom = 300, 30, 42
    room = min(150.0, width * 0.32)
    left, right = 34, width - room
    ends_of = [f"{n} {words.number(p[0][1])} to {words.number(p[-1][1])}" for _, n, p in lines]
    canvas = Canvas(width, height, f"Loss, first to last round: {', '.join(ends_of[::-1])}.")
    scale = ticks(max((v for _, _, points in lines for _, v in points), default=1.0))
    last = max(1, max(r.round for r in e.history.rounds))
    first = 0 if any(points[0][0] == 0 for _, _, points in lines) else 1

    def x(number: float) -> float:
        return left + 6 + (right - left - 12) * (number - first) / max(1, last - first)

    def y(value: float) -> float:
        return height - bottom - (height - bottom - top) * value / scale[-1]

    for tick in scale:
        canvas.line(left, y(tick), right, y(tick), "grid")
        canvas.text(left - 8, y(tick) + 4, words.plain(round(tick, 9)), "soft small", anchor="end")
    canvas.text(0, 12, "loss, nats a token of the completion", "soft small")
    for number in _round_ticks(first, last):
        text = "start" if number == 0 else str(number)
        canvas.text(x(number), height - bottom + 18, text, "soft small", anchor="middle")
    canvas.text((left + right) / 2, height - 4, "round", "soft small", anchor="middle")

    for kind, name, points in lines:
        canvas.path([(x(r), y(v)) for r, v in points], kind)
        if last <= _DOTS:
            for r, v in points:
                radius = {"held": 4.5, "mean": 3}.get(kind, 2.5)
                tip = f"{name}, {f'round {r}' if r else 'start'}: {words.number(v)}"
                canvas.dot(x(r), y(v), f"{kind}-fill", tip, radius)
    named = [n for n in lines if n[0] != "client" or len(e.partition.clients) <= _NAMED_CLIENTS]
    ends = [y(points[-1][1]) for _, _, points in named]
    places = spread(ends, 14, top, height - bottom)
    for (kind, name, points), end, place in zip(named, ends, places, strict=True):
        style = {"held": "held-text strong", "mean": "strong"}.get(kind, "soft")
        canvas.line(x(points[-1][0]) + 6, end, right + 14, place, "lead")
        canvas.text(right + 18, place + 4, name, style, room=room - 16)
    return canvas


def traffic(e: Experiment, width: float) -> Canvas:
    """Bytes from server to clients and back, by round."""
    records = [r for r in e.history.rounds if r.bytes_down or r.bytes_up] or e.trained
    legends = [("c5", "server to clients, MB"), ("c0", "clients to server, MB")]
    top, bottom, left = flow(legends, width)[1] + 8, 40, 40
    height = top + 150 + bottom
    total = sum(r.bytes_down + r.bytes_up for r in records)
    said = f"{words.megabytes(total)} moved in {words.amount(len(records), 'round')}."
    canvas = Canvas(width, height, said)
    scale = ticks(max(((r.bytes_down + r.bytes_up) / 1e6 for r in records), default=1.0), 3)

    def y(value: float) -> float:
        return height - bottom - (height - bottom - top) * value / scale[-1]

    for tick in scale:
        canvas.line(left, y(tick), width, y(tick), "grid")
        canvas.text(left - 8, y(tick) + 4, words.plain(round(tick, 9)), "soft small", anchor="end")
    legend(canvas, legends)
    slot = (width - left) / max(1, len(records))
    thick = min(64.0, slot * 0.62)
    shown = _round_ticks(records[0].round, records[-1].round) if records else []
    for position, r in enumerate(records):
        middle = left + slot * (position + 0.5)
        down, up = r.bytes_down / 1e6, r.bytes_up / 1e6
        tip = f"round {r.round}: {words.megabytes(r.bytes_down)} to clients"
        canvas.bar(middle - thick / 2, y(down), thick, y(0) - y(down), "c5", tip)
        tip = f"round {r.round}: {words.megabytes(r.bytes_up)} to server"
        canvas.bar(middle - thick / 2, y(down + up), thick, y(down) - y(down + up) - 1, "c0", tip)
        if r.round in shown:
            canvas.text(middle, height - bottom + 18, str(r.round), "soft small", anchor="middle")
    canvas.text((left + width) / 2, height - 4, "round", "soft small", anchor="middle")
    return canvas


def time(stages: list[Stage], width: float) -> Canvas:
    """Wall time by stage."""
    if not stages:
        canvas = Canvas(width, 40, "No times were measured.")
        canvas.text(0, 24, "No times were measured in this run.", "soft")
        return canvas
    found = [
        Bar(s.name.replace("_", " "), [("c0", "seconds", s.seconds)], words.duration(s.seconds))
        for s in stages
    ]
    said = ", ".join(f"{bar.name} {bar.total}" for bar in found)
    return bars(width, found, [], f"Wall time by stage: {said}.")


def _finite(interval: Interval) -> bool:
    return all(math.isfinite(v) for v in (interval.value, interval.low, interval.high))


def _round_ticks(first: int, last: int) -> list[int]:
    """At most about ten round numbers between the first and the last."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if (last - first) / s <= 10)
    return [r for r in range(first, last + 1) if r % step == 0]

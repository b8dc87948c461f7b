"""Learning: the losses round by round, and which round the result is from."""

import math

from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.svg import Canvas, compute_round_ticks, compute_ticks, place_labels

_NAMED_CLIENTS = 8  # with more of them, lines have no room for names


_DOTS = 12  # with more points, a dot for each would hide the line


_DOT_RADIUS = {"held": 4.5, "own": 4, "mean": 3, "client": 2.5}


_TEXT = {"held": "held-text strong", "own": "own-text strong", "mean": "strong", "client": "soft"}


_HEIGHT, _TOP, _BOTTOM, _LEFT = 310, 42, 42, 34


_Line = tuple[str, str, list[tuple[int, float]]]


def draw_loss(e: ExperimentResults, width: float) -> Canvas:
    """Loss by round: held-out, on clients' own held-out rows, mean of training, every client's."""
    lines = _collect_lines(e)
    room = min(150.0, width * 0.32)
    right, low = width - room, _HEIGHT - _BOTTOM
    ends_of = [
        f"{n} {formatting.format_number(p[0][1])} to {formatting.format_number(p[-1][1])}"
        for _, n, p in lines
    ]
    canvas = Canvas(width, _HEIGHT, f"Loss, first to last round: {', '.join(ends_of[::-1])}.")
    scale = compute_ticks(max((v for _, _, points in lines for _, v in points), default=1.0))
    last = max(1, max(r.round for r in e.history.rounds))
    first = 0 if any(points[0][0] == 0 for _, _, points in lines) else 1

    def x(number: float) -> float:
        return _LEFT + 6 + (right - _LEFT - 12) * (number - first) / max(1, last - first)

    def y(value: float) -> float:
        return low - (low - _TOP) * value / scale[-1]

    for tick in scale:
        canvas.line(_LEFT, y(tick), right, y(tick), "grid")
        canvas.text(
            _LEFT - 8,
            y(tick) + 4,
            formatting.format_setting(round(tick, 9)),
            "soft small",
            anchor="end",
        )
    canvas.text(0, 12, "loss, nats a token of the completion", "soft small")
    for number in compute_round_ticks(first, last):
        text = "start" if number == 0 else str(number)
        canvas.text(x(number), low + 18, text, "soft small", anchor="middle")
    canvas.text((_LEFT + right) / 2, _HEIGHT - 4, "round", "soft small", anchor="middle")
    for number, text in _label_rounds(e).items():
        canvas.line(x(number), _TOP - 4, x(number), low, "marked")
        canvas.text(x(number), _TOP - 10, text, "small", anchor="middle")

    for kind, name, points in lines:
        canvas.path([(x(r), y(v)) for r, v in points], kind)
        for r, v in points if min(last, len(points)) <= _DOTS else []:
            tip = f"{name}, {f'round {r}' if r else 'start'}: {formatting.format_number(v)}"
            canvas.dot(x(r), y(v), f"{kind}-fill", tip, _DOT_RADIUS[kind])
    named = [n for n in lines if n[0] != "client" or len(e.partition.clients) <= _NAMED_CLIENTS]
    ends = [y(points[-1][1]) for _, _, points in named]
    places = place_labels(ends, 14, _TOP, low)
    for (kind, name, points), end, place in zip(named, ends, places, strict=True):
        canvas.line(x(points[-1][0]) + 6, end, right + 14, place, "lead")
        canvas.text(right + 18, place + 4, name, _TEXT[kind], room=room - 16)
    return canvas


def _collect_lines(e: ExperimentResults) -> list[_Line]:
    """Every line that has a point: kind, name, and round and loss."""
    rounds = e.history.rounds
    lines: list[_Line] = []
    for share in e.partition.clients:
        points = [
            (r.round, c.train_loss) for r in rounds for c in r.clients if c.client == share.client
        ]
        lines.append(("client", share.name, points))
    mean = [(r.round, r.train_loss) for r in rounds if r.train_loss is not None]
    own = e.history.federated_losses
    held = [(r.round, r.evaluation.loss) for r in rounds if r.evaluation]
    lines += [("mean", "training, mean", mean), ("own", "own held-out", own)]
    lines.append(("held", "held-out", held))
    lines = [(k, n, [p for p in points if math.isfinite(p[1])]) for k, n, points in lines]
    return [line for line in lines if line[2]]


def _label_rounds(e: ExperimentResults) -> dict[int, str]:
    """The best round and that of the result, where a reader would not guess them."""
    best, result = e.history.best_round, e.history.result_round
    if best is None or best == result == e.history.rounds[-1].round:
        return {}
    return {best: "best, result"} if best == result else {best: "best", result: "result"}

"""Learning: the losses round by round, and which round the result is from."""

import math

from blossomtune.reporting import words
from blossomtune.reporting.inputs import Experiment
from blossomtune.reporting.svg import Canvas, round_ticks, spread, ticks

_NAMED_CLIENTS = 8  # with more of them, lines have no room for names
_DOTS = 12  # with more points, a dot for each would hide the line
_RADIUS = {"held": 4.5, "own": 4, "mean": 3, "client": 2.5}
_TEXT = {"held": "held-text strong", "own": "own-text strong", "mean": "strong", "client": "soft"}
_HEIGHT, _TOP, _BOTTOM, _LEFT = 310, 42, 42, 34

_Line = tuple[str, str, list[tuple[int, float]]]


def loss(e: Experiment, width: float) -> Canvas:
    """Loss by round: held-out, on clients' own held-out rows, mean of training, every client's."""
    lines = _measured(e)
    room = min(150.0, width * 0.32)
    right, low = width - room, _HEIGHT - _BOTTOM
    ends_of = [f"{n} {words.number(p[0][1])} to {words.number(p[-1][1])}" for _, n, p in lines]
    canvas = Canvas(width, _HEIGHT, f"Loss, first to last round: {', '.join(ends_of[::-1])}.")
    scale = ticks(max((v for _, _, points in lines for _, v in points), default=1.0))
    last = max(1, max(r.round for r in e.history.rounds))
    first = 0 if any(points[0][0] == 0 for _, _, points in lines) else 1

    def x(number: float) -> float:
        return _LEFT + 6 + (right - _LEFT - 12) * (number - first) / max(1, last - first)

    def y(value: float) -> float:
        return low - (low - _TOP) * value / scale[-1]

    for tick in scale:
        canvas.line(_LEFT, y(tick), right, y(tick), "grid")
        canvas.text(_LEFT - 8, y(tick) + 4, words.plain(round(tick, 9)), "soft small", anchor="end")
    canvas.text(0, 12, "loss, nats a token of the completion", "soft small")
    for number in round_ticks(first, last):
        text = "start" if number == 0 else str(number)
        canvas.text(x(number), low + 18, text, "soft small", anchor="middle")
    canvas.text((_LEFT + right) / 2, _HEIGHT - 4, "round", "soft small", anchor="middle")
    for number, text in _marked(e).items():
        canvas.line(x(number), _TOP - 4, x(number), low, "marked")
        canvas.text(x(number), _TOP - 10, text, "small", anchor="middle")

    for kind, name, points in lines:
        canvas.path([(x(r), y(v)) for r, v in points], kind)
        for r, v in points if min(last, len(points)) <= _DOTS else []:
            tip = f"{name}, {f'round {r}' if r else 'start'}: {words.number(v)}"
            canvas.dot(x(r), y(v), f"{kind}-fill", tip, _RADIUS[kind])
    named = [n for n in lines if n[0] != "client" or len(e.partition.clients) <= _NAMED_CLIENTS]
    ends = [y(points[-1][1]) for _, _, points in named]
    places = spread(ends, 14, _TOP, low)
    for (kind, name, points), end, place in zip(named, ends, places, strict=True):
        canvas.line(x(points[-1][0]) + 6, end, right + 14, place, "lead")
        canvas.text(right + 18, place + 4, name, _TEXT[kind], room=room - 16)
    return canvas


def _measured(e: Experiment) -> list[_Line]:
    """Every line that has a point: kind, name, and round and loss."""
    rounds = e.history.rounds
    lines: list[_Line] = []
    for share in e.partition.clients:
        points = [
            (r.round, c.train_loss) for r in rounds for c in r.clients if c.client == share.client
        ]
        lines.append(("client", share.name, points))
    mean = [(r.round, r.train_loss) for r in rounds if r.train_loss is not None]
    own = e.history.own_losses
    held = [(r.round, r.evaluation.loss) for r in rounds if r.evaluation]
    lines += [("mean", "training, mean", mean), ("own", "own held-out", own)]
    lines.append(("held", "held-out", held))
    lines = [(k, n, [p for p in points if math.isfinite(p[1])]) for k, n, points in lines]
    return [line for line in lines if line[2]]


def _marked(e: Experiment) -> dict[int, str]:
    """The best round and that of the result, where a reader would not guess them."""
    best, result = e.history.best_round, e.history.result_round
    if best is None or best == result == e.history.rounds[-1].round:
        return {}
    return {best: "best, result"} if best == result else {best: "best", result: "result"}


def said(e: Experiment) -> list[str]:
    """What was watched, whether the run stopped early, and which round is the result."""
    history, federation = e.history, e.block["federation"]
    sentences = []
    held = [r.evaluation for r in history.rounds if r.evaluation]
    if held:
        sentences.append(
            f"The server’s own check on {words.count(held[0].rows)} held-out examples"
            f"{_every(federation['evaluate_every'])} went from a loss of "
            f"{words.number(held[0].loss)} to {words.number(held[-1].loss)}."
        )
    own = [loss for _, loss in history.own_losses]
    if own:
        sentences.append(
            "On rows that clients hold out themselves it went from "
            f"{words.number(own[0])} to {words.number(own[-1])}."
        )
    last = history.rounds[-1].round
    if history.stopped:
        sentences.append(
            f"The run stopped early, after round {last} of {federation['rounds']}: "
            f"{history.stopped.removeprefix('early stopping: ').rstrip('.')}."
        )
    if history.best_round is not None and history.best_round != last:
        result = "it is" if history.result_round == history.best_round else "the last one is"
        sentences.append(
            f"The loss was smallest after round {history.best_round}; {result} the result."
        )
    return sentences


def _every(rounds: int) -> str:
    return "" if rounds == 1 else f", every {rounds} rounds,"


def batch_sizes(e: Experiment) -> str:
    """Whose batches had to be smaller than configured, in a sentence; nothing if none had to."""
    wanted = e.block["training"]["arguments"].get("per_device_train_batch_size", 8)
    smaller: dict[str, int] = {}
    for record in e.history.rounds:
        for c in record.clients:
            if c.batch_size != wanted:
                smaller[c.name] = min(c.batch_size, smaller.get(c.name, c.batch_size))
    if not smaller:
        return ""
    if len(smaller) > 6:
        who = f"{words.amount(len(smaller), 'client')} (down to {min(smaller.values())} at a time)"
    else:
        who = words.listed([f"{name} ({size} at a time)" for name, size in smaller.items()])
    return (
        f"Memory was too small for {wanted} examples at a time on {who}; they took as many "
        "examples a step, in more and smaller batches."
    )

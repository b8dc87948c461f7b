"""Experiments of one run side by side, with what each was compared with."""

from collections.abc import Sequence
from dataclasses import dataclass

from blossomtune.reporting import words
from blossomtune.reporting.dots import Mark, Row, Scale, dots, finite
from blossomtune.reporting.inputs import Experiment
from blossomtune.reporting.metrics import Interval
from blossomtune.reporting.outcome import KINDS, NAMES, measure
from blossomtune.reporting.svg import Canvas, near

_ORDER = ("base", "local", "federated", "centralised")


@dataclass(frozen=True)
class Line:
    """A model: an experiment's own, or one that experiments share.

    Attributes:
        kind: ``base``, ``local``, ``federated`` or ``centralised``.
        label: what it is called.
        found: accuracy, or loss without choices.
        experiment: whose it is, for ``federated``.
    """

    kind: str
    label: str
    found: Interval
    experiment: Experiment | None


@dataclass(frozen=True)
class Test:
    """All models that were asked the same rows, and what they were asked."""

    dataset: str
    rows: int
    by_accuracy: bool
    lines: list[Line]


def tests(experiments: Sequence[Experiment]) -> list[Test]:
    """The experiments by what they were tested on; base and controls once where they are alike."""
    groups: dict[tuple[str, int, bool], list[Experiment]] = {}
    for e in experiments:
        key = (e.dataset_name, e.federated.rows, e.by_accuracy)
        groups.setdefault(key, []).append(e)
    return [Test(*key, _lines(group, by_accuracy=key[2])) for key, group in groups.items()]


def _lines(group: list[Experiment], *, by_accuracy: bool) -> list[Line]:
    found = []
    for kind in _ORDER:
        distinct: dict[str, tuple[Experiment, Interval]] = {}
        for e in group:
            interval = measure(e.metrics[kind], by_accuracy=by_accuracy) if kind in e.metrics else 0
            if interval:
                own = e.name if kind == "federated" else f"{e.block['model']} {_same(e, kind)}"
                distinct.setdefault(own, (e, interval))
        for e, interval in distinct.values():
            if kind == "federated":
                found.append(Line(kind, e.name, interval, e))
            else:
                label = NAMES[kind] + (f" ({e.name})" if len(distinct) > 1 else "")
                found.append(Line(kind, label, interval, None))
    return found


def _same(e: Experiment, kind: str) -> str:
    """Models with the same numbers on the same rows are taken for one."""
    model = e.metrics[kind]
    return model.model_dump_json(include={"loss", "accuracy", "perplexity"})


def settings(e: Experiment) -> dict[str, str]:
    """What makes an experiment different from others, by the name of a column."""
    history = e.history
    return {
        "model": e.block["model"],
        "clients": words.count(e.participants),
        "rounds": words.count(len(history.trained)),
        "strategy": history.strategy,
        "aggregation": history.aggregation,
        "messages": history.precision,
        "rank": words.between(min(history.ranks), max(history.ranks)),
        "epsilon": words.upwards(history.privacy.epsilon) if history.privacy else "–",
        "steps": words.count(steps(e)),
    }


def columns(experiments: Sequence[Experiment]) -> tuple[list[str], str]:
    """The settings in which experiments differ, and a sentence about those that they share."""
    told = [settings(e) for e in experiments]
    differ = [key for key in told[0] if len({t[key] for t in told}) > 1]
    one = told[0]
    shared = {
        "clients": words.amount(experiments[0].participants, "client"),
        "rounds": words.amount(len(experiments[0].history.trained), "round"),
        "strategy": f"strategy {one['strategy']}",
        "aggregation": f"aggregation {one['aggregation']}",
        "messages": f"messages in {one['messages']}",
        "rank": f"rank {one['rank']}",
        "steps": f"{one['steps']} optimizer steps (of all clients in all rounds)",
    }
    said = [text for key, text in shared.items() if key not in differ]
    return differ, f"All have {words.listed(said)}." if said else ""


def steps(e: Experiment) -> int:
    """Optimizer steps of all clients in all rounds."""
    return sum(c.steps for record in e.history.rounds for c in record.clients)


def said(test: Test) -> str:
    """Where the federated models lie, and what stands beside them."""
    spell = words.percent if test.by_accuracy else words.number
    values = [line.found.value for line in test.lines if line.kind == "federated"]
    low, high = spell(min(values)), spell(max(values))
    beside = [f"{k.label} {spell(k.found.value)}" for k in test.lines if k.kind != "federated"]
    where = f"lie between {low} and {high}" if low != high else f"are at {low}"
    return f"The federated models {where}; {words.listed(beside)}."


def draw(test: Test, width: float) -> Canvas:
    """A line a model, with its interval; the axis is where the values are."""
    chosen = [line for line in test.lines if finite(line.found)]
    spell = words.percent if test.by_accuracy else words.number
    low = min((line.found.low for line in chosen), default=0.0)
    high = max((line.found.high for line in chosen), default=1.0)

    def tick(value: float) -> str:
        return spell(value) if test.by_accuracy else words.plain(round(value, 9))

    rows = [Row(line.label, "", [Mark(KINDS[line.kind], line.kind, line.found)]) for line in chosen]
    said = ", ".join(f"{line.label} {spell(line.found.value)}" for line in chosen)
    what = "Accuracy" if test.by_accuracy else "Loss"
    scale = Scale(near(low, high), tick, spell)
    return dots(width, rows, [], scale, f"{what} of every model: {said}.")

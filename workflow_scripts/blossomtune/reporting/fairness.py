"""How the models serve each client: a figure, and what it says."""

from dataclasses import dataclass

from blossomtune.reporting import words
from blossomtune.reporting.dots import Mark, Row, dots, finite
from blossomtune.reporting.inputs import Experiment
from blossomtune.reporting.metrics import Fairness, Group
from blossomtune.reporting.outcome import KINDS, NAMES, measure, scale_of
from blossomtune.reporting.svg import Canvas

_ROWS = 24  # the clients that fare worst; the table has all of them


@dataclass(frozen=True)
class ByClient:
    """Every client's numbers, for models that have such."""

    experiment: Experiment
    models: dict[str, dict[str, Group]]
    fairness: dict[str, Fairness]

    @property
    def by_accuracy(self) -> bool:
        """Whether the measure is accuracy, else the loss."""
        return self.fairness["federated"].measure == "accuracy"

    @property
    def clients(self) -> list[str]:
        """Names, from the client that the federated model serves worst."""
        found = self.models["federated"]
        values = {n: measure(g, by_accuracy=self.by_accuracy) for n, g in found.items()}
        known = {n: i.value for n, i in values.items() if i}
        return sorted(known, key=lambda n: known[n] if self.by_accuracy else -known[n])


def by_client(e: Experiment) -> ByClient | None:
    """What is known of each client; None where clients were not measured."""
    models = {n: m.clients for n, m in e.metrics.items() if m.clients and m.fairness}
    if "federated" not in models:
        return None
    return ByClient(e, models, {n: e.metrics[n].fairness for n in models})


def draw(found: ByClient, width: float) -> Canvas:
    """A line a client, with a dot for each model."""
    rows = []
    for client in found.clients[:_ROWS]:
        marks = []
        for name in sorted(found.models, key="federated".__eq__):  # that one on top
            group = found.models[name].get(client)
            interval = measure(group, by_accuracy=found.by_accuracy) if group else None
            if interval and finite(interval):
                marks.append(Mark(KINDS[name], NAMES[name], interval))
        if marks:
            rows.append(Row(client, "", marks))
    scale = scale_of([m.found for r in rows for m in r.marks], by_accuracy=found.by_accuracy)
    legends = [(KINDS[name], NAMES[name]) for name in found.models]
    what = "accuracy" if found.by_accuracy else "loss"
    label = f"{words.capital(what)} by client. {' '.join(said(found))}"
    return dots(width, rows, legends, scale, label, together=True)


def said(found: ByClient) -> list[str]:
    """Who fares worst, how far apart clients are, and for how many it was worth it."""
    federated = found.fairness["federated"]
    spell = words.percent if found.by_accuracy else words.number
    what = "accuracy" if found.by_accuracy else "loss"
    worst, best = federated.worst, federated.best
    sentences = [
        f"The federated model serves {worst.client} worst ({what} {spell(worst.value)}) and "
        f"{best.client} best ({spell(best.value)})."
    ]
    spreads = [f"{NAMES[n]} {_apart(f.spread, f.measure)}" for n, f in found.fairness.items()]
    sentences.append(
        f"How far clients lie apart (standard deviation over them): {words.listed(spreads)}."
    )
    if "local" in found.models:
        sentences.append(_better_than_alone(found, what))
    return sentences


def _apart(spread: float, kind: str) -> str:
    if kind == "accuracy":
        return words.points(spread).removeprefix("+")
    return words.number(spread)


def _better_than_alone(found: ByClient, what: str) -> str:
    better, both = 0, 0
    for client, group in found.models["federated"].items():
        alone = found.models["local"].get(client)
        one = measure(group, by_accuracy=found.by_accuracy)
        other = measure(alone, by_accuracy=found.by_accuracy) if alone else None
        if one and other:
            both += 1
            ahead = one.value > other.value if found.by_accuracy else one.value < other.value
            better += ahead
    many = words.capital("all" if better == both else words.word(better) + f" of {both}")
    verb = "has" if better == 1 else "have"
    which = "a higher accuracy" if what == "accuracy" else "a lower loss"
    return (
        f"{many} clients {verb} {which} with the federated model than with the one that the "
        "client trained alone."
    )

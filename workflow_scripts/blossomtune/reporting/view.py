"""What the page shows of an experiment, where it is more than a value that was read."""

from typing import Any

from markupsafe import Markup

from blossomtune.reporting import (
    comparison,
    controls,
    drift,
    fairness,
    figures,
    gpus,
    learning,
    methods,
    outcome,
    partition,
    privacy,
    sentences,
    svg,
    usage,
    words,
)
from blossomtune.reporting.inputs import Experiment

_NARROW = 340.0
_LABELS = 12  # a table of more would hide more than it shows


def images(figure: figures.Figure) -> dict[str, Markup]:
    """A figure for a desk and for a phone."""
    return {"wide": figure(svg.WIDE).inline(), "narrow": figure(_NARROW).inline()}


def view(number: int, e: Experiment) -> dict[str, Any]:
    """The names that the template of an experiment uses."""
    drawn = {
        **figures.of_experiment(e),
        "rows": lambda width: partition.draw(e.partition, width),
    }
    if not drift.measured(e):
        del drawn["drift"]
    clients = fairness.by_client(e)
    if clients:
        drawn["fairness"] = lambda width: fairness.draw(clients, width)
    return {
        "adapter": methods.adapter(e),
        "answer": sentences.answer(e),
        "batch_sizes": learning.batch_sizes(e),
        "clients": clients,
        "compared": " ".join(controls.compared(e)),
        "controls": controls.explained(e),
        "drift": " ".join(drift.said(e)),
        "e": e,
        "examples": _examples(e),
        "fair": " ".join(fairness.said(clients)) if clients else "",
        "figures": {name: images(figure) for name, figure in drawn.items()},
        "gpus": " ".join(gpus.said(e)),
        "gpus_busy": gpus.busy,
        "id": f"experiment-{number}",
        "labels": _answers(e),
        "learning": " ".join(learning.said(e)),
        "majority": sentences.majority(e),
        "moved": e.history.by_client(),
        "names": outcome.NAMES,
        "notes": sentences.left_out(e),
        "privacy": privacy.said(e),
        "privacy_facts": privacy.facts(e),
        "round": methods.round_told(e),
        "row_labels": _row_labels(e),
        "shape": sentences.shape(e),
        "steps": _steps(e),
        "strategy": methods.called(e.block["federation"]["strategy"]),
        "taught": sentences.taught(e),
        "total_steps": comparison.steps(e),
        "training": methods.training(e),
        "use_adapter": usage.adapter(e),
        "use_merged": usage.merged(e),
    }


def compared(experiments: list[Experiment], ids: dict[str, str]) -> dict[str, Any]:
    """The names that the template of the comparison uses.

    Args:
        experiments: of this run.
        ids: where on the page each one is, by its name.
    """
    columns, shared = comparison.columns(experiments)
    return {
        "columns": columns,
        "ids": ids,
        "settings": {e.name: comparison.settings(e) for e in experiments},
        "shared": shared,
        "tests": [
            {
                "figure": images(lambda width, test=test: comparison.draw(test, width)),
                "said": comparison.said(test),
                "test": test,
            }
            for test in comparison.tests(experiments)
        ],
    }


def _answers(e: Experiment) -> list[str]:
    """The labels of the confusion tables; none where there are too many."""
    confusions = [m.confusion for m in e.metrics.values() if m.confusion]
    labels = sorted({label for c in confusions for gold in c for label in (gold, *c[gold])})
    return labels if len(labels) <= _LABELS else []


def _row_labels(e: Experiment) -> dict[str, int]:
    """The labels that are counted by client, and how many rows have each."""
    found = {
        label: sum((share.labels or {}).get(label, 0) for share in e.partition.clients)
        for label in sorted(e.partition.labels or {})
    }
    return found if len(found) <= _LABELS else {}


def _examples(e: Experiment) -> dict[int, int]:
    """How many examples each client trained on."""
    found: dict[int, int] = {}
    for record in e.history.rounds:
        for c in record.clients:
            found[c.client] = found.get(c.client, 0) + c.examples
    return found


def _steps(e: Experiment) -> str:
    """ "10", or "8 to 10" where clients differed."""
    steps = {c.steps for record in e.history.rounds for c in record.clients}
    return words.between(min(steps), max(steps)) if steps else "no"

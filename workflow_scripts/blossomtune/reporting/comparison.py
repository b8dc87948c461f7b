"""Experiments of one run side by side, with what each was compared with."""

from collections.abc import Sequence
from dataclasses import dataclass

from blossomtune.artifacts.metrics import ConfidenceInterval
from blossomtune.reporting import formatting
from blossomtune.reporting.charts import Figure
from blossomtune.reporting.dot_plot import DotRow, draw_dot_plot, is_finite
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.outcome import MODEL_LABELS, list_series, select_metric

_ORDER = ("base", "local", "federated", "centralised")


@dataclass(frozen=True)
class ComparedModel:
    """A model: an experiment's own, or one that experiments share.

    Attributes:
        kind: ``base``, ``local``, ``federated`` or ``centralised``.
        label: what it is called.
        found: accuracy, or loss without choices.
        experiment: whose it is, for ``federated``.
    """

    kind: str
    label: str
    interval: ConfidenceInterval
    experiment: ExperimentResults | None


@dataclass(frozen=True)
class TestSetComparison:
    """All models that were asked the same rows, and what they were asked."""

    dataset: str
    num_rows: int
    uses_accuracy: bool
    models: list[ComparedModel]


def group_by_test_set(experiments: Sequence[ExperimentResults]) -> list[TestSetComparison]:
    """The experiments by what they were tested on; base and controls once where they are alike."""
    groups: dict[tuple[str, int, bool], list[ExperimentResults]] = {}
    for e in experiments:
        key = (e.dataset_name, e.federated.rows, e.uses_accuracy)
        groups.setdefault(key, []).append(e)
    return [
        TestSetComparison(*key, _collect_models(group, uses_accuracy=key[2]))
        for key, group in groups.items()
    ]


def _collect_models(group: list[ExperimentResults], *, uses_accuracy: bool) -> list[ComparedModel]:
    found = []
    for kind in _ORDER:
        distinct: dict[str, tuple[ExperimentResults, ConfidenceInterval]] = {}
        for e in group:
            interval = (
                select_metric(e.metrics[kind], uses_accuracy=uses_accuracy)
                if kind in e.metrics
                else 0
            )
            if interval:
                own = (
                    e.name
                    if kind == "federated"
                    else f"{e.config['model']} {_metrics_key(e, kind)}"
                )
                distinct.setdefault(own, (e, interval))
        for e, interval in distinct.values():
            if kind == "federated":
                found.append(ComparedModel(kind, e.name, interval, e))
            else:
                label = MODEL_LABELS[kind] + (f" ({e.name})" if len(distinct) > 1 else "")
                found.append(ComparedModel(kind, label, interval, None))
    return found


def _metrics_key(e: ExperimentResults, kind: str) -> str:
    """Models with the same numbers on the same rows are taken for one."""
    model = e.metrics[kind]
    return model.model_dump_json(include={"loss", "accuracy", "perplexity"})


def describe_settings(e: ExperimentResults) -> dict[str, str]:
    """What makes an experiment different from others, by the name of a column."""
    history = e.history
    return {
        "model": e.config["model"],
        "clients": formatting.format_count(e.num_participants),
        "rounds": formatting.format_count(len(history.trained_rounds)),
        "strategy": history.strategy,
        "aggregation": history.aggregation,
        "messages": history.precision,
        "rank": formatting.format_range(min(history.ranks), max(history.ranks)),
        "epsilon": formatting.format_upper_bound(history.privacy.epsilon)
        if history.privacy
        else "–",
        "steps": formatting.format_count(count_steps(e)),
    }


def find_differing_settings(experiments: Sequence[ExperimentResults]) -> tuple[list[str], str]:
    """The settings in which experiments differ, and a sentence about those that they share."""
    told = [describe_settings(e) for e in experiments]
    differ = [key for key in told[0] if len({t[key] for t in told}) > 1]
    one = told[0]
    shared = {
        "clients": formatting.format_amount(experiments[0].num_participants, "client"),
        "rounds": formatting.format_amount(len(experiments[0].history.trained_rounds), "round"),
        "strategy": f"strategy {one['strategy']}",
        "aggregation": f"aggregation {one['aggregation']}",
        "messages": f"messages in {one['messages']}",
        "rank": f"rank {one['rank']}",
        "steps": f"{one['steps']} optimizer steps (of all clients in all rounds)",
    }
    said = [text for key, text in shared.items() if key not in differ]
    return differ, f"All have {formatting.join_list(said)}." if said else ""


def count_steps(e: ExperimentResults) -> int:
    """Optimizer steps of all clients in all rounds."""
    return sum(c.steps for record in e.history.rounds for c in record.clients)


def describe_comparison(comparison: TestSetComparison) -> str:
    """Where the federated models lie, and what stands beside them."""
    spell = formatting.format_percent if comparison.uses_accuracy else formatting.format_number
    values = [line.interval.value for line in comparison.models if line.kind == "federated"]
    low, high = spell(min(values)), spell(max(values))
    beside = [
        f"{k.label} {spell(k.interval.value)}" for k in comparison.models if k.kind != "federated"
    ]
    where = f"lie between {low} and {high}" if low != high else f"are at {low}"
    return f"The federated models {where}; {formatting.join_list(beside)}."


def draw_comparison(comparison: TestSetComparison, width: float) -> Figure:
    """Return every model with its interval, on an axis around the values.

    Args:
        comparison: models that were scored on the same rows.
        width: width of the figure in pixels.
    """
    models = [model for model in comparison.models if is_finite(model.interval)]
    spell = formatting.format_percent if comparison.uses_accuracy else formatting.format_number
    scores = ", ".join(f"{model.label} {spell(model.interval.value)}" for model in models)
    return draw_dot_plot(
        [DotRow(model.label, "", [(MODEL_LABELS[model.kind], model.interval)]) for model in models],
        list_series(MODEL_LABELS),
        f"{'Accuracy' if comparison.uses_accuracy else 'Loss'} of every model: {scores}.",
        width,
        is_share=comparison.uses_accuracy,
        starts_at_zero=False,
        has_legend=False,
    )

"""Compare the experiments of a run that have the same test set."""

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
    """A model of one experiment, or one that experiments share.

    Attributes:
        kind: ``base``, ``local``, ``federated`` or ``centralised``.
        label: name to show.
        interval: accuracy, or loss without choices.
        experiment: experiment of a ``federated`` model, else None.
    """

    kind: str
    label: str
    interval: ConfidenceInterval
    experiment: ExperimentResults | None


@dataclass(frozen=True)
class TestSetComparison:
    """Models that were scored on the same rows.

    Attributes:
        dataset: name of the data set.
        num_rows: number of test rows.
        uses_accuracy: whether models are compared by accuracy, else by loss.
        models: the models, baselines around the federated ones.
    """

    dataset: str
    num_rows: int
    uses_accuracy: bool
    models: list[ComparedModel]


def group_by_test_set(experiments: Sequence[ExperimentResults]) -> list[TestSetComparison]:
    """Return the models by test set; a base or baseline with equal scores appears once."""
    groups: dict[tuple[str, int, bool], list[ExperimentResults]] = {}
    for e in experiments:
        key = (e.dataset_name, e.federated.rows, e.uses_accuracy)
        groups.setdefault(key, []).append(e)
    return [
        TestSetComparison(*key, _collect_models(group, uses_accuracy=key[2]))
        for key, group in groups.items()
    ]


def _collect_models(group: list[ExperimentResults], *, uses_accuracy: bool) -> list[ComparedModel]:
    models = []
    for kind in _ORDER:
        distinct: dict[str, tuple[ExperimentResults, ConfidenceInterval]] = {}
        for e in group:
            metrics = e.metrics.get(kind)
            interval = select_metric(metrics, uses_accuracy=uses_accuracy) if metrics else None
            if metrics and interval:
                # models with equal scores on the same rows count as one
                scores = metrics.model_dump_json(include={"loss", "accuracy", "perplexity"})
                key = e.name if kind == "federated" else f"{e.config['model']} {scores}"
                distinct.setdefault(key, (e, interval))
        for e, interval in distinct.values():
            if kind == "federated":
                models.append(ComparedModel(kind, e.name, interval, e))
            else:
                label = MODEL_LABELS[kind] + (f" ({e.name})" if len(distinct) > 1 else "")
                models.append(ComparedModel(kind, label, interval, None))
    return models


def describe_settings(e: ExperimentResults) -> dict[str, str]:
    """Return the settings in which experiments may differ, by name of the column."""
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
    """Return the settings in which experiments differ, and a sentence on the common ones."""
    settings = [describe_settings(e) for e in experiments]
    one = settings[0]
    differ = [key for key in one if len({each[key] for each in settings}) > 1]
    shared = {
        "clients": formatting.format_amount(experiments[0].num_participants, "client"),
        "rounds": formatting.format_amount(len(experiments[0].history.trained_rounds), "round"),
        "strategy": f"strategy {one['strategy']}",
        "aggregation": f"aggregation {one['aggregation']}",
        "messages": f"messages in {one['messages']}",
        "rank": f"rank {one['rank']}",
        "steps": f"{one['steps']} optimizer steps (of all clients in all rounds)",
    }
    common = [text for key, text in shared.items() if key not in differ]
    return differ, f"All have {formatting.join_list(common)}." if common else ""


def count_steps(e: ExperimentResults) -> int:
    """Return the optimizer steps of all clients in all rounds."""
    return sum(c.steps for record in e.history.rounds for c in record.clients)


def describe_comparison(comparison: TestSetComparison) -> str:
    """Return the range of the federated models and the values of the other models."""
    spell = formatting.format_percent if comparison.uses_accuracy else formatting.format_number
    values = [line.interval.value for line in comparison.models if line.kind == "federated"]
    low, high = spell(min(values)), spell(max(values))
    others = [
        f"{m.label} {spell(m.interval.value)}" for m in comparison.models if m.kind != "federated"
    ]
    location = f"lie between {low} and {high}" if low != high else f"are at {low}"
    return f"The federated models {location}; {formatting.join_list(others)}."


def draw_comparison(comparison: TestSetComparison, width: float) -> Figure:
    """Return every model with its interval, on an axis around the values.

    Args:
        comparison: models that were scored on the same rows.
        width: width of the figure in pixels.

    Returns:
        Dot plot with one row per model, of accuracy in percent or of loss in nats per token.
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

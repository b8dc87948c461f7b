"""Answer at the head of the page: is it better, at what, by how much."""

from collections.abc import Sequence
from dataclasses import dataclass

from blossomtune.artifacts.metrics import ConfidenceInterval
from blossomtune.reporting import answers, benchmark_scores, formatting, judge_summary
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.metric_names import choose_metric, get_metric_label
from blossomtune.reporting.outcome import select_metric


@dataclass(frozen=True)
class MetricChange:
    """A metric of base and federated model.

    Attributes:
        label: name of the metric for readers.
        before: the base's value.
        after: the federated model's value.
        difference: after minus before, paired by row; None if it was not computed.
        is_share: whether values are shares of 1, else losses.
        rows: number of rows.
    """

    label: str
    before: ConfidenceInterval
    after: ConfidenceInterval
    difference: ConfidenceInterval | None
    is_share: bool
    rows: int

    def format_value(self, value: float) -> str:
        """Return a value as the page shows it."""
        return (
            formatting.format_percent(value) if self.is_share else formatting.format_number(value)
        )

    def format_values(self) -> str:
        """Return both values: "12 % → 42 %"."""
        return f"{self.format_value(self.before.value)} → {self.format_value(self.after.value)}"

    def format_difference(self, value: float) -> str:
        """Return a difference with its sign: in percentage points, or in nats per token."""
        if self.is_share:
            return formatting.format_points(value, "")
        return formatting.format_signed(value)


def get_main_change(e: ExperimentResults) -> MetricChange:
    """Return the change of accuracy, else of the answers' metric, else of the loss."""
    base, federated, difference = e.base, e.federated, e.differences["base"]
    if base.accuracy and federated.accuracy:
        return MetricChange(
            "accuracy", base.accuracy, federated.accuracy, difference.accuracy, True, base.rows
        )
    return get_answer_change(e) or MetricChange(
        "loss", base.loss, federated.loss, difference.loss, False, base.rows
    )


def get_answer_change(e: ExperimentResults) -> MetricChange | None:
    """Return the change of the metric that compares the written answers; None without one."""
    base, federated = e.base.answer_metrics or {}, e.federated.answer_metrics or {}
    configured = e.config["evaluation"]["metrics"] or []
    name = choose_metric(base.keys() & federated.keys(), configured)
    if name is None:
        return None
    difference = (e.differences["base"].answer_metrics or {}).get(name)
    label, rows = get_metric_label(name), base[name].rows
    return MetricChange(label, base[name], federated[name], difference, True, rows)


def collect_answer_metrics(
    e: ExperimentResults,
) -> list[tuple[str, int, dict[str, ConfidenceInterval]]]:
    """Return label, number of rows and values by model of each metric of the written answers."""
    models = {name: model.answer_metrics or {} for name, model in e.metrics.items()}
    return [
        (get_metric_label(name), value.rows, {m: v[name] for m, v in models.items() if name in v})
        for name, value in models["federated"].items()
    ]


def find_best(experiments: Sequence[ExperimentResults]) -> ExperimentResults | None:
    """Return the experiment with the best main metric; None if they have no common test rows."""
    changes = [get_main_change(e) for e in experiments]
    tests = {(e.dataset_name, e.federated.rows) for e in experiments}
    if len(tests) > 1 or len({change.label for change in changes}) > 1:
        return None
    values = [c.after.value if c.is_share else -c.after.value for c in changes]
    return experiments[values.index(max(values))]


def describe_details(e: ExperimentResults) -> str:
    """Return sentences on what became better and what did not, as far as it was measured."""
    outcomes = answers.describe_outcomes(answers.compare_answers(e))
    sentences = [
        f"{formatting.capitalize_first(outcomes)}." if outcomes else "",
        describe_groups(e),
        judge_summary.describe_judge(e),
        *benchmark_scores.describe_forgetting(e)[:1],
    ]
    return " ".join(filter(None, sentences))


def describe_groups(e: ExperimentResults) -> str:
    """Return where the federated model gained most and least; empty without groups."""
    before, after = e.base.by or {}, e.federated.by or {}
    spell = formatting.format_percent if e.uses_accuracy else formatting.format_number
    metric = "accuracy" if e.uses_accuracy else "loss"
    gains = []
    for group in sorted(before.keys() & after.keys()):
        first = select_metric(before[group], uses_accuracy=e.uses_accuracy)
        last = select_metric(after[group], uses_accuracy=e.uses_accuracy)
        if first and last:
            text = f"“{group}” ({metric} {spell(first.value)} to {spell(last.value)})"
            change = last.value - first.value
            gains.append((change if e.uses_accuracy else -change, text))
    if len(gains) < 2:
        return ""
    (least, worst), (_, best) = min(gains), max(gains)
    verb = "there is a loss" if least < 0 else "smallest"
    return f"By {e.federated.by_column}, the gain is largest at {best}, and {verb} at {worst}."

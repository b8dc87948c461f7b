"""metrics.json: scores of all models on the held-out rows and on benchmarks."""

from typing import Literal

from pydantic import model_validator

from blossomtune.artifacts.base import Artifact, Part
from blossomtune.artifacts.benchmarks import BenchmarkResults


class ConfidenceInterval(Part):
    """A value and its 95 % bootstrap interval.

    Attributes:
        value: the value on the rows.
        low: lower bound.
        high: upper bound.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True if the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


class SampledInterval(ConfidenceInterval):
    """A value that was measured on a sample of the rows.

    Attributes:
        rows: number of rows of the sample.
    """

    rows: int


ANSWER_METRIC_LABELS = {
    "tool_call_match": "matching tool calls",
    "numeric_match": "right numbers",
    "rouge_l": "ROUGE-L",
    "token_f1": "token F1",
    "chrf": "chrF",
    "normalized_exact_match": "normalized exact match",
    "exact_match": "exact match",
    "json_valid": "valid JSON",
}
"""Labels of the metrics of generated answers; the first that was computed compares models best."""


class GroupMetrics(Part):
    """Metrics of a model on a group of rows.

    Attributes:
        rows: number of rows.
        loss: mean loss in nats per completion token.
        perplexity: exponential of the loss.
        accuracy: share of rows whose most likely choice is right; None without choices.
        accuracy_norm: the same, by likelihood per character; None without choices per row.
        answer_metrics: means over rows with a generated answer, by name of the metric; None
            without any, and for groups of rows and single clients.
    """

    rows: int
    loss: ConfidenceInterval
    perplexity: ConfidenceInterval
    accuracy: ConfidenceInterval | None
    accuracy_norm: ConfidenceInterval | None = None
    answer_metrics: dict[str, SampledInterval] | None = None


class ClientValue(Part):
    """A client and its value of a metric.

    Attributes:
        client: name of the client.
        value: accuracy or loss.
    """

    client: str
    value: float


class Fairness(Part):
    """Differences between clients.

    Attributes:
        measure: the metric that is compared.
        worst: the client with the worst value.
        best: the client with the best value.
        spread: standard deviation over clients.
        row_source: whether the rows are the clients' own test rows or common ones.
    """

    measure: Literal["accuracy", "loss"]
    worst: ClientValue
    best: ClientValue
    spread: float
    row_source: Literal["own", "common"]


class ModelMetrics(GroupMetrics):
    """Metrics of one model on the common held-out rows.

    Attributes:
        macro_f1: unweighted mean of the choices' F1 scores; None without common choices.
        confusion: rows by right choice and predicted choice; None without common choices.
        by_column: column that ``by`` groups the rows by.
        by: metrics by value of ``by_column``.
        clients: metrics by client name, on the clients' rows.
        fairness: differences between clients.
    """

    macro_f1: ConfidenceInterval | None
    confusion: dict[str, dict[str, int | float]] | None
    by_column: str | None
    by: dict[str, GroupMetrics] | None
    clients: dict[str, GroupMetrics] | None
    fairness: Fairness | None


class LocalBaselineMetrics(ModelMetrics):
    """Metrics of the models that clients trained alone, averaged over the models.

    Attributes:
        models: metrics of each model on the common rows, by client name.
    """

    models: dict[str, GroupMetrics]


class PairedDifference(Part):
    """Metrics of the federated model minus another model's, paired by row.

    Attributes:
        accuracy: difference of accuracies; None without choices.
        loss: difference of losses in nats per token.
        accuracy_norm: difference of accuracies by likelihood per character; None without choices
            per row.
        answer_metrics: differences of the metrics of generated answers; None without any.
    """

    accuracy: ConfidenceInterval | None
    loss: ConfidenceInterval
    accuracy_norm: ConfidenceInterval | None = None
    answer_metrics: dict[str, SampledInterval] | None = None


class LeakFreeMetrics(Part):
    """Metrics on the common held-out rows that occur in no training rows.

    Attributes:
        models: metrics of each model, by its name.
        difference: the federated model against each other model, by its name.
    """

    models: dict[str, GroupMetrics]
    difference: dict[str, PairedDifference]


class Evaluation(Artifact):
    """Metrics of all models of an experiment on the held-out rows: ``evaluation.json``.

    Attributes:
        base: the model before training.
        federated: the model that the clients trained.
        centralised: the baseline on the pooled rows, if it was trained.
        local: the baselines of single clients, if they were trained.
        difference: the federated model against each other model, by its name.
        left_out: test rows that are not scored because they influenced the training.
        leaked: scored rows that occur, exactly or nearly, in training rows of any client.
        without_leaks: metrics without the leaked rows; None if there are none, or no others.
    """

    base: ModelMetrics
    federated: ModelMetrics
    centralised: ModelMetrics | None
    local: LocalBaselineMetrics | None
    difference: dict[str, PairedDifference]
    left_out: int
    leaked: int
    without_leaks: LeakFreeMetrics | None

    @model_validator(mode="after")
    def _check_differences(self) -> "Evaluation":
        missing = self.models.keys() - {"federated"} - self.difference.keys()
        if missing:
            raise ValueError(f"difference has no {min(missing)}")
        return self

    @property
    def models(self) -> dict[str, ModelMetrics]:
        """Models that were scored, from the smallest to the largest expected accuracy."""
        models = {
            "base": self.base,
            "local": self.local,
            "federated": self.federated,
            "centralised": self.centralised,
        }
        return {name: model for name, model in models.items() if model}


class Metrics(Evaluation):
    """All scores of an experiment's models: ``metrics.json``.

    Attributes:
        benchmarks: scores on benchmarks; None if the experiment has none.
    """

    benchmarks: BenchmarkResults | None

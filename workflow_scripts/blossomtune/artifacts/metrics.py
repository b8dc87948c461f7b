"""metrics.json: what was measured of every model on the held-out rows."""

from typing import Literal

from pydantic import BaseModel, model_validator


class ConfidenceInterval(BaseModel):
    """A value and its 95 % interval; ``rows`` where it was measured on a sample."""

    value: float
    low: float
    high: float
    rows: int | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is more than these rows could show by chance."""
        return self.low > 0 or self.high < 0


class GroupMetrics(BaseModel):
    """Metrics of the rows that have something in common."""

    rows: int
    loss: ConfidenceInterval
    accuracy: ConfidenceInterval | None = None


class ClientValue(BaseModel):
    """The client that fares worst, or best."""

    client: str
    value: float


class Fairness(BaseModel):
    """How differently clients fare; ``rows`` says whether these are rows of their own."""

    measure: Literal["accuracy", "loss"]
    worst: ClientValue
    best: ClientValue
    spread: float
    row_source: Literal["own", "common"]


class ModelMetrics(GroupMetrics):
    """Metrics of one model on the held-out rows."""

    perplexity: ConfidenceInterval
    macro_f1: ConfidenceInterval | None = None
    exact_match: ConfidenceInterval | None = None
    by: dict[str, GroupMetrics] | None = None
    by_column: str | None = None
    confusion: dict[str, dict[str, float]] | None = None
    clients: dict[str, GroupMetrics] | None
    fairness: Fairness | None


class LocalBaselineMetrics(ModelMetrics):
    """The clients' own models: means over them, and on the common rows each by itself."""

    models: dict[str, GroupMetrics]


class PairedDifference(BaseModel):
    """By how much the federated model's metrics are above another's, taken row by row."""

    accuracy: ConfidenceInterval | None
    loss: ConfidenceInterval


class Metrics(BaseModel):
    """A summary by model, and how far the federated one is from each other."""

    base: ModelMetrics
    federated: ModelMetrics
    centralised: ModelMetrics | None = None
    local: LocalBaselineMetrics | None = None
    difference: dict[str, PairedDifference]

    @model_validator(mode="after")
    def _check_differences(self) -> "Metrics":
        missing = self.models.keys() - {"federated"} - self.difference.keys()
        if missing:
            raise ValueError(f"difference has no {min(missing)}")
        return self

    @property
    def models(self) -> dict[str, ModelMetrics]:
        """From what there was before to what could be had: controls where they belong."""
        found = {
            "base": self.base,
            "local": self.local,
            "federated": self.federated,
            "centralised": self.centralised,
        }
        return {name: model for name, model in found.items() if model}

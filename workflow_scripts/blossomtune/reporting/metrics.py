"""metrics.json: what was measured of every model on the held-out rows."""

from typing import Literal

from pydantic import BaseModel, model_validator


class Interval(BaseModel):
    """A value and its 95 % interval; ``rows`` where it was measured on a sample."""

    value: float
    low: float
    high: float
    rows: int | None = None

    @property
    def clear(self) -> bool:
        """Whether a difference is more than these rows could show by chance."""
        return self.low > 0 or self.high < 0


class Group(BaseModel):
    """Metrics of the rows that have something in common."""

    rows: int
    loss: Interval
    accuracy: Interval | None = None


class Extreme(BaseModel):
    """The client that fares worst, or best."""

    client: str
    value: float


class Fairness(BaseModel):
    """How differently clients fare; ``rows`` says whether these are rows of their own."""

    measure: Literal["accuracy", "loss"]
    worst: Extreme
    best: Extreme
    spread: float
    rows: Literal["own", "common"]


class Metrics(Group):
    """Metrics of one model on the held-out rows."""

    perplexity: Interval
    macro_f1: Interval | None = None
    exact_match: Interval | None = None
    by: dict[str, Group] | None = None
    by_column: str | None = None
    confusion: dict[str, dict[str, float]] | None = None
    clients: dict[str, Group] | None
    fairness: Fairness | None


class Local(Metrics):
    """The clients' own models: means over them, and on the common rows each by itself."""

    models: dict[str, Group]


class Difference(BaseModel):
    """By how much the federated model's metrics are above another's, taken row by row."""

    accuracy: Interval | None
    loss: Interval


class AllMetrics(BaseModel):
    """A summary by model, and how far the federated one is from each other."""

    base: Metrics
    federated: Metrics
    centralised: Metrics | None = None
    local: Local | None = None
    difference: dict[str, Difference]

    @model_validator(mode="after")
    def _every_difference(self) -> "AllMetrics":
        missing = self.models.keys() - {"federated"} - self.difference.keys()
        if missing:
            raise ValueError(f"difference has no {min(missing)}")
        return self

    @property
    def models(self) -> dict[str, Metrics]:
        """From what there was before to what could be had: controls where they belong."""
        found = {
            "base": self.base,
            "local": self.local,
            "federated": self.federated,
            "centralised": self.centralised,
        }
        return {name: model for name, model in found.items() if model}

"""What the report reads: the files of results/, checked, or an error that names the file."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from blossomtune import files
from blossomtune.reporting.manifests import (
    DatasetManifest,
    PartitionManifest,
    PreprocessedManifest,
    Provenance,
    Shape,
    Tokens,
    missing,
    read,
    unusable,
)


class Interval(BaseModel):
    """A value and its 95 % interval; ``rows`` where it was measured on a sample."""

    value: float
    low: float
    high: float
    rows: int | None = None


class Group(BaseModel):
    """Metrics of the rows that share a value of the breakdown column."""

    rows: int
    loss: Interval
    accuracy: Interval | None = None


class Metrics(Group):
    """Metrics of one model on the held-out rows."""

    perplexity: Interval
    macro_f1: Interval | None = None
    exact_match: Interval | None = None
    by: dict[str, Group] | None = None
    by_column: str | None = None
    confusion: dict[str, dict[str, int]] | None = None


class Difference(BaseModel):
    """How much better the federated model is than the base, taken row by row."""

    accuracy: Interval | None = None


class AllMetrics(BaseModel, extra="allow"):
    """metrics.json: one entry a model, controls included, and the difference of the two."""

    base: Metrics
    federated: Metrics
    difference: Difference = Difference()
    __pydantic_extra__: dict[str, Metrics] = Field(init=False)

    @property
    def models(self) -> dict[str, Metrics]:
        """Before, after, then the controls by name."""
        rest = dict(sorted(self.__pydantic_extra__.items()))
        return {"base": self.base, "federated": self.federated, **rest}


class Score(BaseModel):
    """What the server measured after a round."""

    loss: float
    rows: int


class Contribution(BaseModel):
    """What one client did in a round."""

    client: int
    name: str
    examples: int
    tokens: int
    steps: int
    train_loss: float


class Failure(BaseModel):
    """A client that gave nothing in a round, and why."""

    client: int
    name: str
    reason: str


class Round(BaseModel):
    """One record of history.json; round 0 is the state before any training."""

    round: int
    learning_rate: float | None
    train_loss: float | None
    evaluation: Score | None
    clients: list[Contribution]
    failed: list[Failure]
    bytes_down: int
    bytes_up: int
    seconds: float


class History(BaseModel):
    """history.json."""

    clients: list[str]
    device: str
    rounds: list[Round] = Field(min_length=1)


class Merge(BaseModel):
    """The check of the merged model against base and adapter."""

    largest_logit_difference: float
    prompts: int


@dataclass(frozen=True)
class Experiment:
    """Everything that is known of one experiment."""

    name: str
    block: dict[str, Any]
    preprocessing: dict[str, Any]
    digest: str
    model: Provenance
    dataset_name: str
    dataset: DatasetManifest
    partition: PartitionManifest
    shape: Shape
    tokens: dict[int, Tokens]
    history: History
    metrics: dict[str, Metrics]
    difference: Interval | None
    merge: Merge
    adapter_bytes: int
    adapter_sha256: str

    @property
    def base(self) -> Metrics:
        """The model before training."""
        return self.metrics["base"]

    @property
    def federated(self) -> Metrics:
        """The model that the clients trained."""
        return self.metrics["federated"]

    @property
    def trained(self) -> list[Round]:
        """The rounds in which clients trained: all but round 0."""
        return [record for record in self.history.rounds if record.round > 0]

    @property
    def failures(self) -> list[tuple[int, Failure]]:
        """(round, failure) in order."""
        return [(r.round, failure) for r in self.history.rounds for failure in r.failed]

    @property
    def participants(self) -> int:
        """How many different clients trained in at least one round."""
        return len({c.client for r in self.history.rounds for c in r.clients})


@dataclass(frozen=True)
class Stage:
    """What Snakemake measured of one stage.

    Attributes:
        name: the stage.
        jobs: how many of its jobs belong to this run.
        seconds: their wall time, added up.
        megabytes: the largest resident memory among them, or None where it was not measured.
    """

    name: str
    jobs: int
    seconds: float
    megabytes: float | None


def experiment(results: Path, configuration: dict[str, Any], name: str, digest: str) -> Experiment:
    """Reads everything about one experiment.

    Args:
        results: the workflow's results directory.
        configuration: the blocks that this run used.
        name: the experiment's name.
        digest: of what the experiment was made from.

    Raises:
        UserError: where a file is missing or malformed.
    """
    block = configuration["experiments"][name]
    model, partition, preprocessing = block["model"], block["partition"], block["preprocessing"]
    dataset = configuration["partitions"][partition]["dataset"]
    own = results / "experiments" / name
    adapter = own / "adapter" / "adapter_model.safetensors"
    if not adapter.is_file():
        raise missing(adapter)
    tokenised = read(
        results / "preprocessed" / partition / preprocessing / model / "manifest.json",
        PreprocessedManifest,
    )
    metrics = read(own / "metrics.json", AllMetrics)
    return Experiment(
        name=name,
        block=block,
        preprocessing=configuration["preprocessing"][preprocessing],
        digest=digest,
        model=read(results / "models" / model / "provenance.json", Provenance),
        dataset_name=dataset,
        dataset=read(results / "datasets" / dataset / "manifest.json", DatasetManifest),
        partition=read(results / "partitions" / partition / "manifest.json", PartitionManifest),
        shape=tokenised.shape,
        tokens={c.client: c for c in tokenised.clients},
        history=read(own / "history.json", History),
        metrics=metrics.models,
        difference=metrics.difference.accuracy,
        merge=read(own / "merged" / "merge.json", Merge),
        adapter_bytes=adapter.stat().st_size,
        adapter_sha256=files.sha256(adapter),
    )


def stages(results: Path, configuration: dict[str, Any]) -> list[Stage]:
    """What the stages of this run took, in their order; without those that were not measured.

    Only the jobs that this run stands on count: results of other runs may lie beside them.
    """
    blocks = configuration["experiments"].values()
    jobs = {
        "fetch_model": list(configuration["models"]),
        "download": list(configuration["datasets"]),
        "partition": list(configuration["partitions"]),
        "preprocess": sorted(
            {f"{b['partition']}/{b['preprocessing']}/{b['model']}" for b in blocks}
        ),
        "federate": configuration["run"],
        "merge": configuration["run"],
        "evaluate": configuration["run"],
    }
    found = []
    for name, wanted in jobs.items():
        paths = [results / "benchmarks" / name / f"{job}.tsv" for job in wanted]
        measured = [_benchmark(path) for path in paths if path.is_file()]
        if measured:
            memory = [megabytes for _, megabytes in measured if megabytes is not None]
            seconds = sum(seconds for seconds, _ in measured)
            found.append(Stage(name, len(measured), seconds, max(memory, default=None)))
    return found


def _benchmark(path: Path) -> tuple[float, float | None]:
    """Seconds and resident megabytes of Snakemake's benchmark file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        seconds = float(row["s"])
    except (StopIteration, KeyError, TypeError, ValueError) as error:
        raise unusable(path, f"not a benchmark file of Snakemake ({error!r})") from None
    try:
        megabytes = float(row["max_rss"])
    except (KeyError, TypeError, ValueError):  # jobs too short to be sampled have "NA" here
        return seconds, None
    return seconds, megabytes if math.isfinite(megabytes) else None

"""What the report reads: the files of results/, checked, or an error that names the file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from blossomtune import files
from blossomtune.reporting.history import History
from blossomtune.reporting.manifests import (
    DatasetManifest,
    PartitionManifest,
    PreprocessedManifest,
    Provenance,
    Shape,
    Tokens,
    missing,
    read,
)
from blossomtune.reporting.metrics import AllMetrics, Difference, Metrics


class AdapterSettings(BaseModel):
    """PEFT's adapter_config.json; what went into the base may need other ranks by layer."""

    r: int
    rank_pattern: dict[str, int] = {}

    @property
    def rank(self) -> int:
        """The largest."""
        return max([self.r, *self.rank_pattern.values()])


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
    difference: dict[str, Difference]
    merge: Merge
    adapter_rank: int
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
    def by_accuracy(self) -> bool:
        """Whether models are compared by accuracy; where there are no choices, by loss."""
        return all(model.accuracy for model in self.metrics.values())

    @property
    def participants(self) -> int:
        """How many different clients trained in at least one round."""
        return len({c.client for r in self.history.rounds for c in r.clients})


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
        difference=metrics.difference,
        merge=read(own / "merged" / "merge.json", Merge),
        adapter_rank=read(own / "adapter" / "adapter_config.json", AdapterSettings).rank,
        adapter_bytes=adapter.stat().st_size,
        adapter_sha256=files.sha256(adapter),
    )

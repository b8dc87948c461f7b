"""What the report reads: the files of results/, checked, or an error that names the file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blossomtune import files
from blossomtune.artifacts.adapter_config import AdapterConfig
from blossomtune.artifacts.dataset_manifest import DatasetManifest
from blossomtune.artifacts.files import missing_file_error, read_artifact
from blossomtune.artifacts.history import History
from blossomtune.artifacts.merge_check import MergeCheck
from blossomtune.artifacts.metrics import Metrics, ModelMetrics, PairedDifference
from blossomtune.artifacts.partition_manifest import PartitionManifest
from blossomtune.artifacts.provenance import Provenance
from blossomtune.artifacts.tokenized_manifest import ClientTokenCounts, RowFormat, TokenizedManifest


@dataclass(frozen=True)
class ExperimentResults:
    """Everything that is known of one experiment."""

    name: str
    config: dict[str, Any]
    preprocessing: dict[str, Any]
    config_digest: str
    provenance: Provenance
    dataset_name: str
    dataset: DatasetManifest
    partition: PartitionManifest
    row_format: RowFormat
    token_counts: dict[int, ClientTokenCounts]
    history: History
    metrics: dict[str, ModelMetrics]
    differences: dict[str, PairedDifference]
    merge_check: MergeCheck
    adapter_rank: int
    adapter_bytes: int
    adapter_sha256: str

    @property
    def base(self) -> ModelMetrics:
        """The model before training."""
        return self.metrics["base"]

    @property
    def federated(self) -> ModelMetrics:
        """The model that the clients trained."""
        return self.metrics["federated"]

    @property
    def uses_accuracy(self) -> bool:
        """Whether models are compared by accuracy; where there are no choices, by loss."""
        return all(model.accuracy for model in self.metrics.values())

    @property
    def num_participants(self) -> int:
        """How many different clients trained in at least one round."""
        return len({c.client for r in self.history.rounds for c in r.clients})


def load_experiment(
    results: Path, configuration: dict[str, Any], name: str, config_digest: str
) -> ExperimentResults:
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
        raise missing_file_error(adapter)
    tokenised = read_artifact(
        results / "preprocessed" / partition / preprocessing / model / "manifest.json",
        TokenizedManifest,
    )
    metrics = read_artifact(own / "metrics.json", Metrics)
    return ExperimentResults(
        name=name,
        config=block,
        preprocessing=configuration["preprocessing"][preprocessing],
        config_digest=config_digest,
        provenance=read_artifact(results / "models" / model / "provenance.json", Provenance),
        dataset_name=dataset,
        dataset=read_artifact(results / "datasets" / dataset / "manifest.json", DatasetManifest),
        partition=read_artifact(
            results / "partitions" / partition / "manifest.json", PartitionManifest
        ),
        row_format=tokenised.shape,
        token_counts={c.client: c for c in tokenised.clients},
        history=read_artifact(own / "history.json", History),
        metrics=metrics.models,
        differences=metrics.difference,
        merge_check=read_artifact(own / "merged" / "merge.json", MergeCheck),
        adapter_rank=read_artifact(own / "adapter" / "adapter_config.json", AdapterConfig).max_rank,
        adapter_bytes=adapter.stat().st_size,
        adapter_sha256=files.compute_file_sha256(adapter),
    )

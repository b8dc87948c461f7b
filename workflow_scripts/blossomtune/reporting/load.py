"""Load the results that the report shows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blossomtune import files
from blossomtune.artifacts.adapter_config import AdapterConfig
from blossomtune.artifacts.answers import AnswerRecord, read_answers
from blossomtune.artifacts.benchmarks import BenchmarkResults
from blossomtune.artifacts.dataset_manifest import DatasetManifest
from blossomtune.artifacts.files import missing_file_error, read_artifact
from blossomtune.artifacts.history import History
from blossomtune.artifacts.judge import JudgeResults
from blossomtune.artifacts.leaks import Leaks
from blossomtune.artifacts.merge_check import MergeCheck
from blossomtune.artifacts.metrics import (
    GroupMetrics,
    LeakFreeMetrics,
    Metrics,
    ModelMetrics,
    PairedDifference,
)
from blossomtune.artifacts.partition_manifest import PartitionManifest
from blossomtune.artifacts.provenance import Provenance
from blossomtune.artifacts.tokenized_manifest import ClientTokenCounts, RowFormat, TokenizedManifest
from blossomtune.reporting.result_folders import ResultFolders


@dataclass(frozen=True)
class ExperimentResults:
    """Results and settings of one experiment.

    Attributes:
        name: name of the experiment.
        config: its block in the configuration.
        preprocessing: its preprocessing block.
        config_digest: digest of everything that the experiment depends on.
        provenance: origin of the base model.
        dataset_name: name of the data set.
        dataset: origin and rows of the data set.
        partition: rows of the clients.
        row_format: format of the rows.
        token_counts: examples and tokens by index of the client.
        history: the rounds.
        metrics: metrics by name of the model.
        local_models: metrics of the models that clients trained alone, by client name.
        differences: the federated model against each other model, by its name.
        num_leaked: number of scored rows that occur in training rows.
        without_leaks: metrics without them.
        leaks: duplicates between held-out and training rows, and among training rows.
        answers: generated answers to held-out rows.
        benchmarks: scores on public benchmarks; None if there are none.
        judge: verdicts of a judge model; None without one.
        merge_check: check of the merged model.
        adapter_rank: largest rank of the adapter.
        adapter_bytes: size of the adapter's weights.
        adapter_sha256: digest of the adapter's weights.
    """

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
    local_models: dict[str, GroupMetrics]
    differences: dict[str, PairedDifference]
    num_leaked: int
    without_leaks: LeakFreeMetrics | None
    leaks: Leaks
    answers: list[AnswerRecord]
    benchmarks: BenchmarkResults | None
    judge: JudgeResults | None
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
        """True if models are compared by accuracy; without choices they are compared by loss."""
        return all(model.accuracy for model in self.metrics.values())

    @property
    def num_participants(self) -> int:
        """Number of clients that trained in at least one round."""
        return len({c.client for r in self.history.rounds for c in r.clients})


def load_experiment(
    results: Path, configuration: dict[str, Any], name: str, config_digest: str
) -> ExperimentResults:
    """Load the results of one experiment.

    Args:
        results: the workflow's results directory.
        configuration: the blocks that the run uses.
        name: name of the experiment.
        config_digest: digest of everything that the experiment depends on.

    Returns:
        Contents of the experiment's JSON files, and size and digest of its adapter.

    Raises:
        UserError: if a file is missing or malformed.
    """
    block = configuration["experiments"][name]
    folders = ResultFolders.find(results, configuration, name)
    folder = results / "experiments" / name
    adapter = folders.adapter / "adapter_model.safetensors"
    if not adapter.is_file():
        raise missing_file_error(adapter)
    tokenized = read_artifact(folders.preprocessed / "manifest.json", TokenizedManifest)
    metrics = read_artifact(folder / "metrics.json", Metrics)
    return ExperimentResults(
        name=name,
        config=block,
        preprocessing=configuration["preprocessing"][block["preprocessing"]],
        config_digest=config_digest,
        provenance=read_artifact(folders.model / "provenance.json", Provenance),
        dataset_name=folders.dataset.name,
        dataset=read_artifact(folders.dataset / "manifest.json", DatasetManifest),
        partition=read_artifact(folders.partition / "manifest.json", PartitionManifest),
        row_format=tokenized.shape,
        token_counts={c.client: c for c in tokenized.clients},
        history=read_artifact(folder / "history.json", History),
        metrics=metrics.models,
        local_models=metrics.local.models if metrics.local else {},
        differences=metrics.difference,
        num_leaked=metrics.leaked,
        without_leaks=metrics.without_leaks,
        leaks=tokenized.leaks,
        answers=read_answers(folder / "answers.jsonl"),
        benchmarks=metrics.benchmarks,
        judge=read_artifact(folder / "judge.json", JudgeResults)
        if block["evaluation"].get("judge")
        else None,
        merge_check=read_artifact(folders.merged / "merge.json", MergeCheck),
        adapter_rank=read_artifact(folders.adapter / "adapter_config.json", AdapterConfig).max_rank,
        adapter_bytes=adapter.stat().st_size,
        adapter_sha256=files.compute_file_sha256(adapter),
    )

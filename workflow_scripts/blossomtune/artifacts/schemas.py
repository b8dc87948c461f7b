"""Write one JSON schema per artifact: ``python -m blossomtune.artifacts.schemas DIR``."""

import argparse
from pathlib import Path

from blossomtune import files
from blossomtune.artifacts.answers import AnswerRecord
from blossomtune.artifacts.audit_log import AuditEntry
from blossomtune.artifacts.base import Artifact
from blossomtune.artifacts.baseline_history import BaselineHistory
from blossomtune.artifacts.benchmark_leaks import BenchmarkLeaks
from blossomtune.artifacts.benchmarks import ModelBenchmarks
from blossomtune.artifacts.checksums import Checksums
from blossomtune.artifacts.dataset_manifest import DatasetManifest
from blossomtune.artifacts.history import History
from blossomtune.artifacts.judge import JudgeResults
from blossomtune.artifacts.merge_check import MergeCheck
from blossomtune.artifacts.metrics import Evaluation, Metrics
from blossomtune.artifacts.partition_manifest import PartitionManifest
from blossomtune.artifacts.plan import Downloads, Plan
from blossomtune.artifacts.provenance import Provenance
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest

ARTIFACTS: dict[str, type[Artifact]] = {
    "checksums": Checksums,
    "provenance": Provenance,
    "dataset_manifest": DatasetManifest,
    "partition_manifest": PartitionManifest,
    "tokenized_manifest": TokenizedManifest,
    "history": History,
    "baseline_history": BaselineHistory,
    "audit": AuditEntry,
    "merge_check": MergeCheck,
    "evaluation": Evaluation,
    "metrics": Metrics,
    "answers": AnswerRecord,
    "model_benchmarks": ModelBenchmarks,
    "benchmark_leaks": BenchmarkLeaks,
    "judge": JudgeResults,
    "downloads": Downloads,
    "plan": Plan,
}
"""Artifacts by the name of their schema."""


def write_schemas(folder: Path) -> None:
    """Write ``<name>.schema.json`` for every artifact into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, model_type in ARTIFACTS.items():
        schema = model_type.model_json_schema(mode="serialization")
        files.write_json(folder / f"{name}.schema.json", schema)


def main() -> None:
    """Parse the command line and write the schemas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write_schemas(parser.parse_args().folder)


if __name__ == "__main__":
    main()

"""What the stages took, from Snakemake's benchmark files."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blossomtune.artifacts.files import invalid_file_error
from blossomtune.reporting.load import ExperimentResults


@dataclass(frozen=True)
class StageBenchmark:
    """What Snakemake measured of one stage.

    Attributes:
        name: the stage.
        jobs: how many of its jobs belong to this run.
        seconds: their wall time, added up.
        megabytes: the largest resident memory among them, or None where it was not measured.
    """

    name: str
    num_jobs: int
    seconds: float
    max_rss_mb: float | None


def read_benchmarks(
    results: Path, configuration: dict[str, Any], experiments: Sequence[ExperimentResults]
) -> list[StageBenchmark]:
    """What the stages of this run took, in their order; without those that were not measured.

    Only the jobs that this run stands on count: results of other runs may lie beside them.

    Raises:
        UserError: where a benchmark file is malformed.
    """
    blocks = [e.config for e in experiments]
    jobs = {
        "fetch_model": list(configuration["models"]),
        "download": list(configuration["datasets"]),
        "partition": list(configuration["partitions"]),
        "preprocess": sorted(
            {f"{b['partition']}/{b['preprocessing']}/{b['model']}" for b in blocks}
        ),
        "federate": [e.name for e in experiments],
        "train_baseline": [
            f"{e.name}/{baseline}" for e in experiments for baseline in _baseline_names(e)
        ],
        "merge": [e.name for e in experiments],
        "evaluate": [e.name for e in experiments],
    }
    found = []
    for name, wanted in jobs.items():
        paths = [results / "benchmarks" / name / f"{job}.tsv" for job in wanted]
        times = [_read_benchmark(path) for path in paths if path.is_file()]
        if times:
            memory = [megabytes for _, megabytes in times if megabytes is not None]
            seconds = sum(seconds for seconds, _ in times)
            found.append(StageBenchmark(name, len(times), seconds, max(memory, default=None)))
    return found


def _baseline_names(e: ExperimentResults) -> list[str]:
    """The names of the control stage's jobs."""
    chosen = e.config["baselines"]
    alone = [f"local_{share.client}" for share in e.partition.clients] if chosen["local"] else []
    return ["centralised"] * chosen["centralised"] + alone


def _read_benchmark(path: Path) -> tuple[float, float | None]:
    """Seconds and resident megabytes of Snakemake's benchmark file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        seconds = float(row["s"])
    except (StopIteration, KeyError, TypeError, ValueError) as error:
        raise invalid_file_error(path, f"not a benchmark file of Snakemake ({error!r})") from None
    try:
        megabytes = float(row["max_rss"])
    except (KeyError, TypeError, ValueError):  # jobs too short to be sampled have "NA" here
        return seconds, None
    return seconds, megabytes if math.isfinite(megabytes) else None

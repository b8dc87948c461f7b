"""Read the time and memory of the stages from Snakemake's benchmark files."""

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
    """Time and memory of one stage.

    Attributes:
        name: name of the stage.
        num_jobs: number of its jobs in this run.
        seconds: sum of their wall times.
        max_rss_mb: largest resident memory of a job in MB; None if it was not measured.
    """

    name: str
    num_jobs: int
    seconds: float
    max_rss_mb: float | None


def read_benchmarks(
    results: Path, configuration: dict[str, Any], experiments: Sequence[ExperimentResults]
) -> list[StageBenchmark]:
    """Return the measured stages of this run, in order.

    Jobs of other runs do not count.

    Args:
        results: the workflow's results directory.
        configuration: the blocks that the run uses.
        experiments: results of the experiments.

    Returns:
        One entry per stage with a measured job: wall time in seconds, memory in MB.

    Raises:
        UserError: if a benchmark file is malformed.
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
    stages = []
    for name, jobs_of_stage in jobs.items():
        paths = [results / "benchmarks" / name / f"{job}.tsv" for job in jobs_of_stage]
        times = [_read_benchmark(path) for path in paths if path.is_file()]
        if times:
            memory = [megabytes for _, megabytes in times if megabytes is not None]
            seconds = sum(seconds for seconds, _ in times)
            stages.append(StageBenchmark(name, len(times), seconds, max(memory, default=None)))
    return stages


def _baseline_names(e: ExperimentResults) -> list[str]:
    """Return the names of the experiment's baselines."""
    chosen = e.config["baselines"]
    local = [f"local_{c.client}" for c in e.partition.clients] if chosen["local"] else []
    return ["centralised"] * chosen["centralised"] + local


def _read_benchmark(path: Path) -> tuple[float, float | None]:
    """Return seconds and resident memory in MB."""
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

"""Load the tasks of the benchmarks with their data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager

from blossomtune.benchmarks.own_data import write_task_file
from blossomtune.benchmarks.task_index import (
    KEY,
    get_task_file,
    index_tasks,
    require_code_execution,
)
from blossomtune.errors import UserError


@dataclass(frozen=True)
class LoadedBenchmark:
    """A benchmark and its tasks.

    Attributes:
        settings: Block of ``evaluation.benchmarks``.
        items: Tasks and groups of lm-evaluation-harness, with their data.
        tasks: All tasks by name.
        uses_chat_template: Whether questions stand in the model's chat template.
    """

    settings: Mapping[str, Any]
    items: Sequence[Any]
    tasks: Mapping[str, Any]
    uses_chat_template: bool


def load_benchmarks(
    benchmarks: Sequence[Mapping[str, Any]], datasets: Mapping[str, Path], scratch: Path
) -> tuple[TaskManager, list[LoadedBenchmark]]:
    """Load the tasks of all benchmarks.

    Args:
        benchmarks: Blocks of ``evaluation.benchmarks``.
        datasets: Folders of the data sets that they name.
        scratch: An empty folder, needed as long as the tasks.

    Returns:
        The index of tasks, and the benchmarks in order.

    Raises:
        UserError: If a task is unknown, cannot be loaded, runs code without permission, or belongs
            to two benchmarks.
    """
    manager = index_tasks(benchmarks)
    require_code_execution(manager, benchmarks)
    loaded: list[LoadedBenchmark] = []
    for benchmark in benchmarks:
        item = _load_benchmark(manager, benchmark, datasets, scratch)
        for other in loaded:
            if common := sorted(item.tasks.keys() & other.tasks.keys()):
                raise UserError(
                    f"{KEY}: {benchmark['task']!r} and {other.settings['task']!r} both have the "
                    f"task {common[0]!r}",
                    "leave one of them out",
                )
        loaded.append(item)
    return manager, loaded


def _load_benchmark(
    manager: TaskManager,
    benchmark: Mapping[str, Any],
    datasets: Mapping[str, Path],
    scratch: Path,
) -> LoadedBenchmark:
    name, source = benchmark["task"], manager
    if benchmark["dataset"]:
        task_file, folder = get_task_file(manager, name), scratch / name
        folder.mkdir()
        config = manager.task_index[name].cfg or {}
        write_task_file(task_file, config, datasets[benchmark["dataset"]], folder)
        source = TaskManager(include_path=[folder], include_defaults=False)
    try:
        tasks = source.load(name)
    except Exception as error:  # of the hub, of a file format, or of a template
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        raise UserError(
            f"{KEY}: {name!r} cannot be loaded: {reason}",
            f"does the data set {benchmark['dataset']!r} have the columns that the task reads?"
            if benchmark["dataset"]
            else "its data come from the Hugging Face hub, or from where its task file says; "
            "{task: …, dataset: …} reads a block of datasets instead",
        ) from error
    groups = tasks.get("groups", {})
    template = benchmark["chat_template"]
    if template == "auto":
        template = all(t.OUTPUT_TYPE == "generate_until" for t in tasks["tasks"].values())
    return LoadedBenchmark(
        settings=benchmark,
        items=[groups[name]] if name in groups else list(tasks["tasks"].values()),
        tasks=tasks["tasks"],
        uses_chat_template=template,
    )

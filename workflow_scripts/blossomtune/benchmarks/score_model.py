"""Score one model on the benchmarks."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager

from blossomtune.artifacts.benchmarks import BenchmarkScore, ModelBenchmarks, TaskScores
from blossomtune.benchmarks.harness_model import HarnessModel
from blossomtune.benchmarks.load_tasks import LoadedBenchmark

logger = logging.getLogger(__name__)

SEEDS = {
    "random_seed": 0,
    "numpy_random_seed": 1234,
    "torch_random_seed": 1234,
    "fewshot_random_seed": 1234,
}
"""The default seeds of ``lm_eval``, which published scores have."""

BOOTSTRAP_ITERATIONS = 1000
"""Resamples for standard errors of metrics that are no means."""


def score_model(
    model: HarnessModel, manager: TaskManager, benchmarks: Sequence[LoadedBenchmark]
) -> ModelBenchmarks:
    """Score a model on all benchmarks.

    Args:
        model: The model.
        manager: Index of the tasks.
        benchmarks: The benchmarks; each is evaluated as one call of ``lm_eval`` is.

    Returns:
        Scores by task and group.
    """
    tasks: dict[str, TaskScores] = {}
    for benchmark in benchmarks:
        settings = benchmark.settings
        logger.info("%s: %d tasks", settings["task"], len(benchmark.tasks))
        results = lm_eval.simple_evaluate(
            model=model,
            tasks=list(benchmark.items),
            num_fewshot=settings["num_fewshot"],
            limit=settings["limit"],
            bootstrap_iters=BOOTSTRAP_ITERATIONS,
            apply_chat_template=benchmark.uses_chat_template,
            task_manager=manager,
            confirm_run_unsafe_code=settings["allow_code_execution"],
            **SEEDS,
        )
        tasks |= read_results(results, settings["limit"], benchmark.uses_chat_template)
    return ModelBenchmarks(lm_eval=lm_eval.__version__, tasks=tasks)


def read_results(
    results: Mapping[str, Any], limit: int | None, chat_template: bool
) -> dict[str, TaskScores]:
    """Return the scores in results of lm-evaluation-harness; a group without scores is left out.

    Args:
        results: What ``simple_evaluate`` returns.
        limit: Largest number of rows per task.
        chat_template: Whether the chat template was used.

    Returns:
        Scores by task and group.
    """
    subtasks = results["group_subtasks"]
    scores = {name: _read_scores(metrics) for name, metrics in results["results"].items()}
    scores = {name: metrics for name, metrics in scores.items() if metrics}
    parents = {child: group for group in subtasks if group in scores for child in subtasks[group]}
    tasks = {}
    for name, metrics in scores.items():
        higher = results["higher_is_better"].get(name, {})
        version = results["versions"].get(name)
        tasks[name] = TaskScores(
            version=None if version is None else str(version),
            group=parents.get(name),
            subtasks=subtasks.get(name, []),
            num_fewshot=results["n-shot"].get(name),
            limit=limit,
            rows=results["results"][name]["sample_len"],
            chat_template=chat_template,
            main_metric=next(iter(metrics)),
            higher_is_better={metric: higher.get(metric.split(",")[0]) for metric in metrics},
            scores=metrics,
            row_values=_read_row_values(results["samples"].get(name, []), metrics),
        )
    return tasks


def _read_scores(metrics: Mapping[str, Any]) -> dict[str, BenchmarkScore]:
    """Return the scores of a task by metric; the name of the filter ``none`` is left out."""
    scores = {}
    for key, value in metrics.items():
        metric, separator, filter_name = key.partition(",")
        if not separator or metric.endswith("_stderr") or not _is_finite(value):
            continue
        error = metrics.get(f"{metric}_stderr,{filter_name}")
        scores[metric if filter_name == "none" else key] = BenchmarkScore(
            value=value, standard_error=error if _is_finite(error) else None
        )
    return scores


def _read_row_values(
    samples: Sequence[Mapping[str, Any]], scores: Mapping[str, BenchmarkScore]
) -> dict[str, list[float]]:
    """Return the values of the rows, for metrics that are means over the rows."""
    rows = {}
    for name, score in scores.items():
        values = list(_iterate_values(samples, name))
        if values and all(map(_is_finite, values)):
            mean = math.fsum(values) / len(values)
            if math.isclose(mean, score.value, rel_tol=1e-9, abs_tol=1e-12):
                rows[name] = [float(value) for value in values]
    return rows


def _iterate_values(samples: Sequence[Mapping[str, Any]], name: str) -> Iterator[Any]:
    metric, _, filter_name = name.partition(",")
    for sample in samples:
        if sample["filter"] == (filter_name or "none"):
            yield sample.get(metric)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)

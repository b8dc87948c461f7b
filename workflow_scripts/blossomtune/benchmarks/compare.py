"""Compare the models of an experiment on its benchmarks."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from blossomtune.artifacts.benchmark_leaks import BenchmarkLeaks
from blossomtune.artifacts.benchmarks import (
    BenchmarkResults,
    BenchmarkScore,
    BenchmarkTask,
    LeakFreeScores,
    ModelBenchmarks,
    Scores,
    TaskDefinition,
)

FEDERATED = "federated"


def compare_benchmarks(
    models: Mapping[str, ModelBenchmarks], leaks: BenchmarkLeaks
) -> BenchmarkResults:
    """Return the scores of all models by task, with differences to the federated model.

    Args:
        models: Scores by the model's name, among them ``federated``, on the same tasks.
        leaks: Questions that occur in training rows.

    Returns:
        Scores and differences of each task and group.
    """
    federated = models[FEDERATED]
    tasks = {}
    for name, definition in federated.tasks.items():
        fields = {key: getattr(definition, key) for key in TaskDefinition.model_fields}
        is_leaked = _list_leaked(federated, leaks, name)
        tasks[name] = BenchmarkTask(
            **fields,
            scores={model: result.tasks[name].scores for model, result in models.items()},
            difference={
                model: _compute_differences(federated, result, name)
                for model, result in models.items()
                if model != FEDERATED
            },
            leaked=sum(is_leaked),
            without_leaks=_compute_leak_free_scores(models, name, is_leaked),
        )
    return BenchmarkResults(lm_eval=federated.lm_eval, tasks=tasks)


def _compute_differences(
    minuend: ModelBenchmarks, subtrahend: ModelBenchmarks, name: str
) -> Scores:
    """Return the differences on a task or group by metric, paired by row."""
    differences = {}
    for metric, score in minuend.tasks[name].scores.items():
        pair = [collect_row_values(model, name, metric) for model in (minuend, subtrahend)]
        other = subtrahend.tasks[name].scores.get(metric)
        if other is None or not pair[0] or len(pair[0]) != len(pair[1]):
            continue
        rows = [a - b for a, b in zip(*pair, strict=True)]
        value = score.value - other.value
        if _is_mean(rows, value):  # not a mean of means
            error = _compute_standard_error(rows)
            differences[metric] = BenchmarkScore(value=value, standard_error=error)
    return differences


def _compute_leak_free_scores(
    models: Mapping[str, ModelBenchmarks], name: str, is_leaked: Sequence[bool]
) -> LeakFreeScores | None:
    """Return the scores on the rows that did not leak; None if no rows leaked, or all.

    Metrics that are no means over the rows are left out.
    """
    kept = [i for i, leaked in enumerate(is_leaked) if not leaked]
    if not 0 < len(kept) < len(is_leaked):
        return None
    values: dict[str, dict[str, list[float]]] = {}
    for model, result in models.items():
        values[model] = {}
        for metric, score in result.tasks[name].scores.items():
            rows = collect_row_values(result, name, metric)
            if len(rows) == len(is_leaked) and _is_mean(rows, score.value):
                values[model][metric] = [rows[i] for i in kept]
    federated = values[FEDERATED]
    return LeakFreeScores(
        rows=len(kept),
        scores={model: _summarize_rows(rows) for model, rows in values.items()},
        difference={
            model: _summarize_rows(
                {
                    metric: [a - b for a, b in zip(federated[metric], rows[metric], strict=True)]
                    for metric in federated
                    if metric in rows
                }
            )
            for model, rows in values.items()
            if model != FEDERATED
        },
    )


def _summarize_rows(values: Mapping[str, Sequence[float]]) -> Scores:
    return {
        metric: BenchmarkScore(value=fmean(rows), standard_error=_compute_standard_error(rows))
        for metric, rows in values.items()
    }


def _compute_standard_error(rows: Sequence[float]) -> float | None:
    return stdev(rows) / math.sqrt(len(rows)) if len(rows) > 1 else None


def _is_mean(rows: Sequence[float], value: float) -> bool:
    return bool(rows) and math.isclose(fmean(rows), value, rel_tol=1e-9, abs_tol=1e-9)


def _list_leaked(model: ModelBenchmarks, leaks: BenchmarkLeaks, name: str) -> list[bool]:
    """Return for each row of a task, or of the tasks of a group, whether it leaked."""
    if subtasks := model.tasks[name].subtasks:
        return [leaked for task in subtasks for leaked in _list_leaked(model, leaks, task)]
    rows = {*leaks.tasks[name].exact, *leaks.tasks[name].near}
    return [i in rows for i in range(leaks.tasks[name].questions)]


def collect_row_values(model: ModelBenchmarks, name: str, metric: str) -> list[float]:
    """Return a metric's values of all rows of a task, or of the tasks of a group.

    Args:
        model: Scores of a model.
        name: Name of the task or group.
        metric: Name of the metric.

    Returns:
        The values; none if a task has no values per row.
    """
    task = model.tasks.get(name)
    if task is None:
        return []
    if not task.subtasks:
        return task.row_values.get(metric, [])
    parts = [collect_row_values(model, subtask, metric) for subtask in task.subtasks]
    return [value for part in parts for value in part] if all(parts) else []

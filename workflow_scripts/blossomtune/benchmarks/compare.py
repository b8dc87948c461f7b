"""Compare the models of an experiment on its benchmarks."""

import math
from collections.abc import Mapping
from statistics import fmean, stdev

from blossomtune.artifacts.benchmarks import (
    BenchmarkResults,
    BenchmarkScore,
    BenchmarkTask,
    ModelBenchmarks,
    Scores,
    TaskDefinition,
)

FEDERATED = "federated"


def compare_benchmarks(models: Mapping[str, ModelBenchmarks]) -> BenchmarkResults:
    """Return the scores of all models by task, with differences to the federated model.

    Args:
        models: Scores by the model's name, among them ``federated``, on the same tasks.

    Returns:
        Content of benchmarks.json.
    """
    federated = models[FEDERATED]
    tasks = {}
    for name, definition in federated.tasks.items():
        fields = {key: getattr(definition, key) for key in TaskDefinition.model_fields}
        tasks[name] = BenchmarkTask(
            **fields,
            scores={model: result.tasks[name].scores for model, result in models.items()},
            difference={
                model: _compute_differences(federated, result, name)
                for model, result in models.items()
                if model != FEDERATED
            },
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
        if math.isclose(fmean(rows), value, rel_tol=1e-9, abs_tol=1e-9):  # not a mean of means
            error = stdev(rows) / math.sqrt(len(rows)) if len(rows) > 1 else None
            differences[metric] = BenchmarkScore(value=value, standard_error=error)
    return differences


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

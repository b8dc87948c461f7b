"""Collect the scores on public benchmarks, and describe what was lost against the base."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blossomtune.artifacts.benchmarks import BenchmarkScore, BenchmarkTask
from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.outcome import MODEL_LABELS

_LOCAL_PREFIX = "local_"
_NORMAL_QUANTILE = 1.96  # of a 95 % interval, in standard errors


@dataclass(frozen=True)
class BenchmarkRow:
    """Scores of all models by one metric of a task.

    Attributes:
        name: name of the task or group.
        metric: name of the metric.
        task: the task.
        scores: score by model; that of ``local`` is the mean over the clients' models.
    """

    name: str
    metric: str
    task: BenchmarkTask
    scores: dict[str, BenchmarkScore]


def build_benchmarks_context(e: ExperimentResults) -> dict[str, Any] | None:
    """Return the variables of the benchmarks' template; None without benchmarks.

    What was asked for has a row per metric, the main one first. The tasks of groups have one row.
    """
    if not e.benchmarks:
        return None
    rows, subtasks = [], []
    for name, task in e.benchmarks.tasks.items():
        others = sorted(task.scores["base"].keys() - {task.main_metric})
        metrics = [task.main_metric, *others]
        if task.group is None:
            rows += [BenchmarkRow(name, m, task, _collect_scores(task, m)) for m in metrics]
        else:
            subtasks.append(BenchmarkRow(name, metrics[0], task, _collect_scores(task, metrics[0])))
    present = {model for row in rows for model in row.scores}
    return {
        "models": [model for model in MODEL_LABELS if model in present],
        "rows": rows,
        "subtasks": subtasks,
        "has_leaks": any(task.leaked for task in e.benchmarks.tasks.values()),
        "summary": " ".join(describe_forgetting(e)),
    }


def _collect_scores(task: BenchmarkTask, metric: str) -> dict[str, BenchmarkScore]:
    scores = {model: values[metric] for model, values in task.scores.items() if metric in values}
    local = [s.value for name, s in scores.items() if name.startswith(_LOCAL_PREFIX)]
    shown = {n: s for n, s in scores.items() if not n.startswith(_LOCAL_PREFIX)}
    if local:
        mean = BenchmarkScore(value=sum(local) / len(local), standard_error=None)
        shown["local"] = mean
    return shown


def format_score(score: BenchmarkScore | None) -> str:
    """Return a value and its standard error: "0.480 ± 0.071"."""
    if score is None:
        return "–"
    error = score.standard_error
    spread = "" if error is None else f" ± {formatting.format_number(error)}"
    return formatting.format_number(score.value) + spread


def describe_forgetting(e: ExperimentResults) -> list[str]:
    """Return sentences on what the federated model does worse than the base, then the others.

    Each task and group that was asked for counts by its main metric, on the questions that occur
    in no training row.
    """
    changes: dict[str, list[str]] = {"worse": [], "better": [], "unclear": []}
    for name, task in e.benchmarks.tasks.items() if e.benchmarks else ():
        if task.group is None:
            text = f"{name} ({_format_change(task, _compute_change(task))}{_describe_leaks(task)})"
            changes[_classify(task, _compute_change_without_leaks(task))].append(text)
    sentences = []
    if changes["worse"]:
        worse = formatting.join_list(changes["worse"])
        sentences.append(f"Forgetting: against the base it is worse on {worse}.")
    elif any(changes.values()):
        sentences.append("These benchmarks show no forgetting: it is clearly worse on none.")
    if changes["better"]:
        sentences.append(f"It is better on {formatting.join_list(changes['better'])}.")
    if changes["unclear"]:
        unclear = formatting.join_list(changes["unclear"])
        sentences.append(f"There is no difference that the rows can show on {unclear}.")
    return sentences


def _compute_change(task: BenchmarkTask) -> BenchmarkScore | None:
    """Return the change from base to federated model; its error is paired where it is known."""
    metric = task.main_metric
    paired: Mapping[str, BenchmarkScore] = task.difference.get("base", {})
    if metric in paired:
        return paired[metric]
    base, federated = (task.scores[name].get(metric) for name in ("base", "federated"))
    if base is None or federated is None:
        return None
    errors = (base.standard_error, federated.standard_error)
    known = [error for error in errors if error is not None]
    error = math.hypot(*known) if len(known) == len(errors) else None
    return BenchmarkScore(value=federated.value - base.value, standard_error=error)


def _compute_change_without_leaks(task: BenchmarkTask) -> BenchmarkScore | None:
    """Return the change on the questions that did not leak; on all if it is not known."""
    leak_free = task.without_leaks.difference.get("base", {}) if task.without_leaks else {}
    return leak_free.get(task.main_metric) or _compute_change(task)


def _describe_leaks(task: BenchmarkTask) -> str:
    """Return how many questions are in training rows, and the change without them."""
    if not task.leaked:
        return ""
    if task.leaked == task.rows:
        return "; all its questions are in the training rows, too"
    verb = "is" if task.leaked == 1 else "are"
    leaked = f"{formatting.format_amount(task.leaked, 'question')} that {verb} in the training rows"
    if task.without_leaks is None or task.main_metric not in task.without_leaks.scores["base"]:
        return f"; with {leaked}, too"
    change = _compute_change_without_leaks(task)
    return f"; {_format_change(task, change)} without {leaked}, too"


def _classify(task: BenchmarkTask, change: BenchmarkScore | None) -> str:
    if change is None or change.standard_error is None or not math.isfinite(change.value):
        return "unclear"
    if abs(change.value) <= _NORMAL_QUANTILE * change.standard_error:
        return "unclear"
    is_better = (change.value > 0) == (task.higher_is_better.get(task.main_metric) is not False)
    return "better" if is_better else "worse"


def _format_change(task: BenchmarkTask, change: BenchmarkScore | None) -> str:
    if change is None:
        return f"{task.main_metric} unknown"
    text = f"{task.main_metric} {formatting.format_signed(change.value)}"
    if change.standard_error is None:
        return text
    return f"{text} ± {formatting.format_number(_NORMAL_QUANTILE * change.standard_error)}"

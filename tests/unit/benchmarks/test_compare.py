"""Tests of the comparison of models."""

import math

import pytest
from artifact_samples import benchmark_leaks

from blossomtune.artifacts.benchmarks import BenchmarkScore, ModelBenchmarks, TaskScores
from blossomtune.benchmarks.compare import compare_benchmarks


def task(values, score=None, subtasks=(), **fields):
    """Return scores of a task whose rows have these values."""
    score = BenchmarkScore(value=sum(values) / len(values), standard_error=0.1) if values else score
    defaults = {"version": "1", "group": None, "num_fewshot": 0, "limit": None}
    defaults |= {"rows": len(values), "chat_template": False, "main_metric": "acc"}
    defaults |= {"higher_is_better": {"acc": True}, "subtasks": list(subtasks)}
    rows = {} if subtasks else {"acc": values}
    return TaskScores(**defaults | fields, scores={"acc": score}, row_values=rows)


def group(value):
    return task([], BenchmarkScore(value=value, standard_error=0.1), ["a", "b"])


def compare(leaked=(), **models):
    """Compare models; ``leaked`` has positions of leaked rows by task."""
    scores = {name: ModelBenchmarks(lm_eval="1", tasks=tasks) for name, tasks in models.items()}
    leaks = benchmark_leaks(
        **{
            name: (task.rows, dict(leaked).get(name, []), [])
            for name, task in models["federated"].items()
            if not task.subtasks
        }
    )
    return compare_benchmarks(scores, leaks).tasks


def test_difference_is_paired_by_row():
    tasks = compare(
        base={"a": task([0.0, 0.0, 1.0, 1.0])}, federated={"a": task([1.0, 0.0, 1.0, 1.0])}
    )
    difference = tasks["a"].difference["base"]["acc"]
    assert difference.value == 0.25
    # rows differ by 1, 0, 0, 0: variance 3 / 12, over 4 rows
    assert difference.standard_error == pytest.approx(math.sqrt(3 / 12 / 4))
    assert set(tasks["a"].scores) == {"base", "federated"}


def test_group_that_weighs_rows_has_a_difference_and_one_that_weighs_tasks_has_none():
    base = {"a": task([0.0]), "b": task([0.0, 1.0, 1.0])}
    federated = {"a": task([1.0]), "b": task([0.0, 1.0, 1.0])}
    by_row = compare(base=base | {"g": group(0.5)}, federated=federated | {"g": group(0.75)})
    assert by_row["g"].difference["base"]["acc"].value == 0.25
    by_task = compare(base=base | {"g": group(1 / 3)}, federated=federated | {"g": group(5 / 6)})
    assert by_task["g"].difference["base"] == {}


def test_metric_without_values_per_row_has_no_difference():
    score = BenchmarkScore(value=3.0, standard_error=None)
    tasks = compare(base={"a": task([], score)}, federated={"a": task([], score)})
    assert tasks["a"].difference["base"] == {}
    assert tasks["a"].scores["base"]["acc"] == score


def test_scores_without_leaks_are_those_of_the_other_rows():
    base, federated = [0.0, 1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0, 0.0]
    with_leaks = compare({"a": [0, 3]}, base={"a": task(base)}, federated={"a": task(federated)})
    kept = [1, 2, 4]
    others = {
        name: {"a": task([values[i] for i in kept])}
        for name, values in {"base": base, "federated": federated}.items()
    }
    expected = compare(**others)["a"]
    assert with_leaks["a"].leaked == 2
    leak_free = with_leaks["a"].without_leaks
    assert leak_free.rows == 3
    assert leak_free.difference == expected.difference
    for name in ("base", "federated"):
        assert leak_free.scores[name]["acc"].value == expected.scores[name]["acc"].value
    error = leak_free.scores["base"]["acc"].standard_error  # of 1, 0, 0: variance 1 / 3
    assert error == pytest.approx(1 / 3)


@pytest.mark.parametrize("leaked", [[], [0, 1]])
def test_without_leaks_or_other_rows_there_is_no_second_score(leaked):
    tasks = compare({"a": leaked}, base={"a": task([0.0, 1.0])}, federated={"a": task([1.0, 1.0])})
    assert tasks["a"].leaked == len(leaked)
    assert tasks["a"].without_leaks is None


def test_leaks_of_a_group_are_those_of_its_tasks():
    base = {"a": task([0.0, 0.0]), "b": task([0.0, 1.0]), "g": group(0.25)}
    federated = {"a": task([1.0, 0.0]), "b": task([1.0, 1.0]), "g": group(0.75)}
    tasks = compare({"a": [0], "b": [1]}, base=base, federated=federated)
    assert tasks["g"].leaked == 2
    assert tasks["g"].without_leaks.scores["federated"]["acc"].value == 0.5
    assert tasks["g"].without_leaks.difference["base"]["acc"].value == 0.5

"""Scores on public benchmarks."""

import dataclasses

import pytest
from artifact_samples import benchmark_results, benchmark_score, benchmark_task

from blossomtune.artifacts.benchmarks import LeakFreeScores
from blossomtune.reporting.benchmark_scores import build_benchmarks_context, describe_forgetting


def build_task(base, federated, error, **fields):
    """Return a task with a paired error of the difference; None for a task without pairs."""
    difference = {"base": {"acc": benchmark_score(federated - base, error)}} if error else {}
    values = {"base": base, "federated": federated}
    return benchmark_task(values, difference=difference, **fields)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (
            build_task(0.50, 0.40, 0.02),
            "Forgetting: against the base it is worse on arc (acc −0.100 ± 0.039).",
        ),
        (
            build_task(0.50, 0.60, 0.02),
            "These benchmarks show no forgetting: it is clearly worse on none. It is better on "
            "arc (acc +0.100 ± 0.039).",
        ),
        (
            build_task(0.50, 0.48, 0.02),
            "These benchmarks show no forgetting: it is clearly worse on none. There is no "
            "difference that the rows can show on arc (acc −0.020 ± 0.039).",
        ),
        (
            build_task(0.50, 0.40, 0.02, higher_is_better={"acc": False}),
            "These benchmarks show no forgetting: it is clearly worse on none. It is better on "
            "arc (acc −0.100 ± 0.039).",
        ),
        (  # errors of 0.1 each, as of different rows
            build_task(0.9, 0.6, None),
            "Forgetting: against the base it is worse on arc (acc −0.300 ± 0.277).",
        ),
    ],
)
def test_losses_against_the_base_are_named(experiment, task, expected):
    e = dataclasses.replace(experiment, benchmarks=benchmark_results({"arc": task}))
    assert " ".join(describe_forgetting(e)) == expected


LEAKED = " in the training rows, too)."


@pytest.mark.parametrize(
    ("leaked", "without_leaks", "expected"),
    [
        (  # better only for what it remembers
            2,
            LeakFreeScores(
                rows=98,
                scores={name: {"acc": benchmark_score(0.5)} for name in ("base", "federated")},
                difference={"base": {"acc": benchmark_score(-0.01, 0.02)}},
            ),
            "There is no difference that the rows can show on arc (acc +0.100 ± 0.039; acc −0.010 "
            "± 0.039 without two questions that are" + LEAKED,
        ),
        (
            1,
            LeakFreeScores(rows=99, scores={"base": {}, "federated": {}}, difference={}),
            "It is better on arc (acc +0.100 ± 0.039; with one question that is" + LEAKED,
        ),
        (
            100,
            None,
            "It is better on arc (acc +0.100 ± 0.039; all its questions are" + LEAKED,
        ),
    ],
)
def test_leaks_and_the_change_without_them_are_named(experiment, leaked, without_leaks, expected):
    task = build_task(0.5, 0.6, 0.02, leaked=leaked, without_leaks=without_leaks)
    e = dataclasses.replace(experiment, benchmarks=benchmark_results({"arc": task}))
    assert describe_forgetting(e)[1] == expected
    assert build_benchmarks_context(e)["has_leaks"]


def test_tasks_of_a_group_count_once(experiment):
    tasks = {
        "mmlu": build_task(0.5, 0.4, 0.01, subtasks=["law"]),
        "law": build_task(0.5, 0.1, 0.01, group="mmlu"),
    }
    e = dataclasses.replace(experiment, benchmarks=benchmark_results(tasks))
    [sentence] = describe_forgetting(e)
    assert "mmlu" in sentence
    assert "law" not in sentence
    context = build_benchmarks_context(e)
    assert [row.name for row in context["rows"]] == ["mmlu"]
    assert [row.name for row in context["subtasks"]] == ["law"]


def test_local_models_are_averaged(experiment):
    task = benchmark_task({"base": 0.4, "federated": 0.5, "local_0": 0.2, "local_1": 0.4})
    e = dataclasses.replace(experiment, benchmarks=benchmark_results({"arc": task}))
    context = build_benchmarks_context(e)
    assert context["models"] == ["base", "federated", "local"]
    assert context["rows"][0].scores["local"].value == pytest.approx(0.3)


def test_nothing_is_shown_without_benchmarks(experiment):
    assert build_benchmarks_context(experiment) is None
    assert describe_forgetting(experiment) == []

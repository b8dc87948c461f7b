"""The script that joins the scores on held-out rows and on benchmarks."""

import subprocess
import sys
from pathlib import Path

import pytest
from artifact_samples import benchmark_leaks, benchmark_score
from evaluation_samples import build_metrics

from blossomtune.artifacts.benchmarks import ModelBenchmarks, TaskDefinition, TaskScores
from blossomtune.artifacts.files import read_artifact, write_artifact
from blossomtune.artifacts.metrics import Evaluation, Metrics

SCRIPT = Path(__file__).parents[3] / "workflow_scripts/collect_metrics.py"
ROWS = {"base": [0.0, 1.0, 0.0, 0.0], "federated": [1.0, 1.0, 0.0, 1.0]}
DEFINITION = TaskDefinition(
    version="1.0",
    group=None,
    subtasks=[],
    num_fewshot=0,
    limit=None,
    rows=4,
    chat_template=False,
    main_metric="acc",
    higher_is_better={"acc": True},
)


def run_script(folder, *arguments):
    evaluation = folder / "evaluation.json"
    write_artifact(evaluation, build_metrics(accuracies=(0.42, 0.72)))
    files = ("--evaluation", evaluation, "--output", folder / "metrics.json")
    command = [sys.executable, SCRIPT, *files, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def scores(tmp_path):
    """Write scores of two models on a task; return the options that name them."""
    options = []
    for name, rows in ROWS.items():
        task = TaskScores(
            **dict(DEFINITION),
            scores={"acc": benchmark_score(sum(rows) / 4, 0.25)},
            row_values={"acc": rows},
        )
        path = tmp_path / f"{name}.json"
        write_artifact(path, ModelBenchmarks(lm_eval="0.4.13", tasks={"arc_easy": task}))
        options += ["--benchmarks", f"{name}={path}"]
    return options


def test_metrics_without_benchmarks_are_those_of_the_evaluation(tmp_path):
    done = run_script(tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = read_artifact(tmp_path / "metrics.json", Metrics)
    assert metrics.benchmarks is None
    evaluation = read_artifact(tmp_path / "evaluation.json", Evaluation)
    assert metrics.model_dump(exclude={"benchmarks"}) == evaluation.model_dump()


def test_metrics_have_scores_errors_and_versions_of_benchmarks(tmp_path, scores):
    leaks = tmp_path / "leaks.json"
    write_artifact(leaks, benchmark_leaks(arc_easy=(4, [1], [])))
    done = run_script(tmp_path, *scores, "--leaks", leaks)
    assert done.returncode == 0, done.stderr
    benchmarks = read_artifact(tmp_path / "metrics.json", Metrics).benchmarks
    assert benchmarks.lm_eval == "0.4.13"
    task = benchmarks.tasks["arc_easy"]
    assert {name: getattr(task, name) for name in TaskDefinition.model_fields} == dict(DEFINITION)
    assert task.scores["federated"]["acc"] == benchmark_score(0.75, 0.25)
    assert task.difference["base"]["acc"].value == 0.5
    assert (task.leaked, task.without_leaks.rows) == (1, 3)


def test_scores_need_the_leaked_questions(tmp_path, scores):
    done = run_script(tmp_path, *scores)
    assert done.returncode == 2
    assert "--benchmarks needs --leaks" in done.stderr
    assert not (tmp_path / "metrics.json").exists()

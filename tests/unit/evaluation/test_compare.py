"""Tests of the comparison of models, and of the script that runs it."""

import json
import logging
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from artifact_samples import partition_manifest
from evaluation_samples import CHOICES, LABELS, SETTINGS, TEXTS, load_rows

from blossomtune.artifacts.answers import read_answers
from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.metrics import Evaluation
from blossomtune.evaluation.compare import evaluate_models
from blossomtune.evaluation.rows import EvaluationSet
from blossomtune.evaluation.scores import score_rows
from blossomtune.evaluation.stored_model import StoredModel

SCRIPT = Path(__file__).parents[3] / "workflow_scripts" / "evaluate.py"


def evaluate_twice(directory, rows, settings=SETTINGS):
    models = {"base": StoredModel(directory), "federated": StoredModel(directory)}
    return evaluate_models(models, EvaluationSet(rows, len(rows)), settings)[0].model_dump()


def test_metrics_are_consistent(tiny_model, rows, caplog):
    caplog.set_level(logging.INFO, "blossomtune")
    metrics = evaluate_twice(tiny_model, rows)
    base = metrics["base"]
    assert metrics["federated"] == base
    zero = {"value": 0, "low": 0, "high": 0}
    assert metrics["difference"]["base"] == {
        "accuracy": zero,
        "accuracy_norm": None,
        "loss": zero,
        "answer_metrics": {"exact_match": zero | {"rows": 4}},
    }
    assert (base["clients"], base["fairness"], metrics["left_out"]) == (None, None, 0)
    assert base["rows"] == 12
    assert base["perplexity"]["value"] == pytest.approx(np.exp(base["loss"]["value"]), rel=1e-4)
    for name in ("loss", "perplexity", "accuracy", "macro_f1"):
        assert base[name]["low"] <= base[name]["value"] <= base[name]["high"], name
    hits = sum(base["confusion"][choice][choice] for choice in CHOICES)
    assert base["accuracy"]["value"] == pytest.approx(hits / 12, abs=1e-5)
    assert base["by_column"] == "domain"
    assert {value: part["rows"] for value, part in base["by"].items()} == {"a": 6, "b": 6}
    mean = sum(part["accuracy"]["value"] for part in base["by"].values()) / 2
    assert mean == pytest.approx(base["accuracy"]["value"], abs=1e-5)
    assert base["answer_metrics"]["exact_match"]["rows"] == 4
    assert base["accuracy_norm"] is None
    assert any(line.startswith("base: 12 rows, loss ") for line in caplog.messages)


def test_metrics_that_are_not_computed_are_null(tiny_model, rows):
    settings = SETTINGS | {
        "choices": [],
        "by": None,
        "generation": {"rows": 0, "max_new_tokens": 5},
    }
    metrics = evaluate_twice(tiny_model, rows, settings)
    missing = {name for name, value in metrics["base"].items() if value is None}
    expected = {"accuracy", "macro_f1", "confusion", "answer_metrics", "by", "by_column"}
    expected |= {"accuracy_norm"}
    assert missing == expected | {"clients", "fairness"}
    assert metrics["difference"]["base"]["accuracy"] is None


@pytest.fixture(scope="module")
def compared(tiny_model, adapters, write_held_out, tmp_path_factory):
    """Return rows, models and metrics of base, federated model and all baselines."""
    own = {0: (["hm", "oh"], ["neutral", "positive"]), 1: (["no", "yes", "so"], CHOICES)}
    names = partition_manifest(["lab a", "lab b"])
    home = tmp_path_factory.mktemp("compared")
    evaluation_set = load_rows(
        write_held_out(home, TEXTS, LABELS, own, names, domain=["a", "b"] * 6)
    )
    models = {"base": StoredModel(tiny_model), "federated": StoredModel(tiny_model)}
    folders = sorted(path for path in adapters.iterdir() if path.is_dir())
    models |= {folder.name: StoredModel(tiny_model, folder) for folder in folders}
    return evaluation_set, models, *evaluate_models(models, evaluation_set, SETTINGS)


def get_values(summary):
    """Return values of a summary without intervals."""
    return {name: summary[name]["value"] for name in ("loss", "perplexity", "accuracy")}


def test_local_baselines_count_as_one_model(compared):
    evaluation_set, models, metrics, _ = compared
    metrics = metrics.model_dump()
    local = metrics["local"]
    names = {"base", "federated", "centralised", "local"}
    others = {"difference", "left_out", "leaked", "without_leaks", "schema_version"}
    assert set(metrics) == names | others
    assert set(local["models"]) == {"lab a", "lab b"}
    means = {
        name: np.mean([get_values(m)[name] for m in local["models"].values()])
        for name in get_values(local)
    }
    assert get_values(local) == pytest.approx(means, rel=1e-4)
    assert sum(sum(line.values()) for line in local["confusion"].values()) == 12
    assert set(local["by"]) == {"a", "b"}
    for number, client in enumerate(["lab a", "lab b"]):
        common = evaluation_set.rows[: evaluation_set.num_common_rows]
        scores = score_rows(
            models[f"local_{number}"], common, SETTINGS, client, evaluation_set.num_common_rows
        )
        loss = scores.nll.sum() / scores.tokens.sum()
        assert local["models"][client]["loss"]["value"] == pytest.approx(loss, rel=1e-4)


def test_client_metrics_are_those_of_the_clients_rows(compared):
    evaluation_set, models, metrics, _ = compared
    metrics = metrics.model_dump()
    for name, number in (("lab a", 0), ("lab b", 1)):
        rows = [evaluation_set.rows[i] for i in evaluation_set.rows_by_client[name]]
        for model_name in ("base", "federated", "centralised", "local"):
            model = models[model_name if model_name != "local" else f"local_{number}"]
            scores = score_rows(model, rows, SETTINGS, name, len(rows))
            part = metrics[model_name]["clients"][name]
            assert part["rows"] == len(rows)
            loss = scores.nll.sum() / scores.tokens.sum()
            assert part["loss"]["value"] == pytest.approx(loss, rel=1e-4)
            right = scores.predicted == [CHOICES.index(row.completion) for row in rows]
            assert part["accuracy"]["value"] == pytest.approx(right.mean(), abs=1e-4)
    values = [part["accuracy"]["value"] for part in metrics["local"]["clients"].values()]
    fairness = metrics["local"]["fairness"]
    assert (fairness["worst"]["value"], fairness["best"]["value"]) == (min(values), max(values))
    assert fairness["spread"] == pytest.approx(abs(values[0] - values[1]) / 2, abs=1e-5)
    assert (fairness["measure"], fairness["row_source"]) == ("accuracy", "own")


def test_answers_to_the_sampled_rows_are_recorded_by_model(compared):
    evaluation_set, models, metrics, records = compared
    assert len(records) == SETTINGS["generation"]["rows"]
    rows = [evaluation_set.rows[record.row] for record in records]
    for record, row in zip(records, rows, strict=True):
        assert (record.prompt, record.references) == (TEXTS[record.row], [row.completion])
        assert set(record.answers) == set(models)
    right = [
        record.answers["centralised"].text == row.completion
        for record, row in zip(records, rows, strict=True)
    ]
    assert metrics.centralised.answer_metrics["exact_match"].value == np.mean(right)


def test_differences_are_paired_with_each_other_model(compared):
    metrics = compared[2].model_dump()
    assert set(metrics["difference"]) == {"base", "centralised", "local"}
    for other, difference in metrics["difference"].items():
        for name in ("accuracy", "loss"):
            expected = metrics["federated"][name]["value"] - metrics[other][name]["value"]
            assert difference[name]["value"] == pytest.approx(expected, abs=2e-4)
            assert difference[name]["low"] <= difference[name]["value"] <= difference[name]["high"]


def test_scores_without_leaks_are_those_of_the_other_rows(compared):
    evaluation_set, models, metrics, _ = compared
    metrics = metrics.model_dump()
    assert (metrics["leaked"], metrics["without_leaks"]) == (0, None)
    leaked = [1, 4, 5]
    metrics, _ = evaluate_models(models, replace(evaluation_set, leaked_rows=leaked), SETTINGS)
    assert metrics.leaked == 3
    others = [row for i, row in enumerate(evaluation_set.rows[:12]) if i not in leaked]
    expected, _ = evaluate_models(
        {name: model for name, model in models.items() if not name.startswith("local")},
        EvaluationSet(others, len(others)),
        SETTINGS,
    )
    without_leaks = metrics.without_leaks
    assert set(without_leaks.models) == {"base", "federated", "centralised", "local"}
    for name, model in expected.models.items():
        scores = without_leaks.models[name]
        assert scores.rows == 9
        assert get_values(scores.model_dump()) == pytest.approx(
            get_values(model.model_dump()), rel=1e-4
        )
    assert set(without_leaks.difference) == {"base", "centralised", "local"}
    for name, difference in expected.difference.items():
        assert without_leaks.difference[name].loss.value == pytest.approx(
            difference.loss.value, abs=2e-4
        )


def test_no_scores_are_left_if_all_rows_leaked(tiny_model, rows):
    models = {"base": StoredModel(tiny_model), "federated": StoredModel(tiny_model)}
    evaluation_set = EvaluationSet(rows, len(rows), leaked_rows=[*range(len(rows))])
    metrics, _ = evaluate_models(models, evaluation_set, SETTINGS)
    assert (metrics.leaked, metrics.without_leaks) == (len(rows), None)


def test_rows_with_their_own_choices_have_two_accuracies(tiny_model, held_out_files):
    options = [CHOICES, ["neutral", "negative", "positive", "x"]] * 6
    settings = SETTINGS | {"choices": {"column": "options", "score": "text"}, "by": None}
    evaluation_set = load_rows(held_out_files(TEXTS, LABELS, options=options), settings)
    models = {"base": StoredModel(tiny_model), "federated": StoredModel(tiny_model)}
    metrics, _ = evaluate_models(models, evaluation_set, settings)
    scores = score_rows(models["base"], evaluation_set.rows, settings, "base", 12)
    gold = [row.choices.gold for row in evaluation_set.rows]
    assert metrics.base.accuracy.value == pytest.approx(np.mean(scores.predicted == gold), abs=1e-4)
    norm = np.mean(scores.predicted_norm == gold)
    assert metrics.base.accuracy_norm.value == pytest.approx(norm, abs=1e-4)
    assert metrics.difference["base"].accuracy_norm.value == 0
    assert (metrics.base.confusion, metrics.base.macro_f1) == (None, None)


def test_generated_answers_have_metrics_with_paired_differences(compared):
    evaluation_set, models, _, _ = compared
    settings = SETTINGS | {
        "choices": [],
        "by": None,
        "generation": {"rows": 8, "max_new_tokens": 5},
    }
    models = {name: models[name] for name in ("base", "federated", "local_0", "local_1")}
    models["federated"] = compared[1]["centralised"]
    leaky = replace(evaluation_set, leaked_rows=[0, 1, 2])
    metrics, records = evaluate_models(models, leaky, settings)
    names = {"exact_match", "token_f1", "rouge_l", "chrf"}
    means = {
        model: {name: np.mean([r.answers[model].scores[name] for r in records]) for name in names}
        for model in models
    }
    means["local"] = {n: (means["local_0"][n] + means["local_1"][n]) / 2 for n in names}
    assert len(records) == 8
    assert means["base"]["chrf"] != means["federated"]["chrf"]
    for name in names:
        federated = metrics.federated.answer_metrics[name]
        assert federated.value == pytest.approx(means["federated"][name], abs=1e-4)
        for other in ("base", "local"):
            difference = metrics.difference[other].answer_metrics[name]
            expected = means["federated"][name] - means[other][name]
            assert difference.value == pytest.approx(expected, abs=1e-4)
            assert difference.low <= difference.value <= difference.high
            assert difference.rows == 8
    kept = [r for r in records if r.row > 2]
    part = metrics.without_leaks.models["base"].answer_metrics["chrf"]
    assert part.rows == len(kept)
    assert part.value == pytest.approx(
        np.mean([r.answers["base"].scores["chrf"] for r in kept]), abs=1e-4
    )


def test_natural_clients_have_the_common_rows_of_their_value(tiny_model, held_out_files):
    names = ["b", "a", "c"]
    natural = partition_manifest(names, partitioner="natural_id", column="domain")
    files = held_out_files(TEXTS, LABELS, None, natural, domain=["a", "b"] * 6)
    evaluation_set = load_rows(files)
    metrics, _ = evaluate_models(
        {"base": StoredModel(tiny_model), "federated": StoredModel(tiny_model)},
        evaluation_set,
        SETTINGS,
    )
    metrics = metrics.model_dump()
    base = metrics["base"]
    assert list(base["clients"]) == ["b", "a"]
    assert {n: get_values(p) for n, p in base["clients"].items()} == {
        n: get_values(p) for n, p in base["by"].items()
    }
    assert base["fairness"]["row_source"] == "common"


def run_script(tiny_model, files, output, *more, **changed):
    preprocessed, dataset = files
    command = [sys.executable, SCRIPT, "--config", json.dumps(SETTINGS | changed)]
    command += ["--base", tiny_model, "--merged", tiny_model, "--preprocessed", preprocessed]
    command += ["--partition", preprocessed.parent / "partition", "--dataset", dataset, *more]
    command += ["--output", output, "--answers", output.with_name("answers.jsonl"), "--cores", "1"]
    return subprocess.run(command, capture_output=True, text=True)


def test_script_writes_the_librarys_metrics(tiny_model, adapters, files, tmp_path):
    output = tmp_path / "evaluation.json"
    baseline = ["--baseline", f"centralised={adapters / 'centralised'}"]
    done = run_script(tiny_model, files, output, *baseline, server_eval_rows=3)
    assert done.returncode == 0, done.stderr
    models = {"base": StoredModel(tiny_model), "federated": StoredModel(tiny_model)}
    models["centralised"] = StoredModel(tiny_model, adapters / "centralised")
    evaluation_set = load_rows(files, SETTINGS | {"server_eval_rows": 3})
    metrics, answers = evaluate_models(models, evaluation_set, SETTINGS)
    assert read_artifact(output, Evaluation) == metrics
    assert read_answers(output.with_name("answers.jsonl")) == answers
    assert re.fullmatch(r"accuracy .* on 9 held-out rows \(\+0.0 points, .*\)\n", done.stdout)
    assert (metrics.left_out, metrics.base.rows) == (3, 9)


def test_script_reports_an_unknown_column(tiny_model, files, tmp_path):
    done = run_script(tiny_model, files, tmp_path / "evaluation.json", by="domian")
    assert done.returncode == 1
    assert done.stderr.startswith("error: evaluation.by: 'domian' is not a column")
    assert "Traceback" not in done.stderr

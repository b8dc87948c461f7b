import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blossomtune.encoding import encode, end_of_turn, load_tokenizer
from blossomtune.evaluation.compare import evaluate
from blossomtune.evaluation.rows import Row, held_out
from blossomtune.evaluation.scores import score
from blossomtune.modeling import load_model

CHOICES = ["positive", "negative", "neutral"]
TEXTS = [f"text number {i} is {'very ' * (i % 4)}good" for i in range(12)]
LABELS = [CHOICES[i % 3] for i in range(12)]
SETTINGS = {
    "choices": CHOICES,
    "by": "domain",
    "generation": {"rows": 4, "max_new_tokens": 5},
    "batch_size": 5,
    "bootstrap": 200,
    "seed": 42,
}
STEP = Path(__file__).parents[2] / "workflow_scripts" / "evaluate.py"


@pytest.fixture
def files(held_out_files):
    return held_out_files(TEXTS, LABELS, domain=["a", "b"] * 6)


@pytest.fixture
def rows(files):
    return held_out(*files, CHOICES, "domain")


@torch.inference_mode()
def by_hand(directory, prompt, completion):
    """Likelihood and length of a completion with transformers alone."""
    ids, labels = encode(load_tokenizer(directory), prompt, completion)
    loss = load_model(directory)(
        input_ids=torch.tensor([ids]), labels=torch.tensor([labels])
    ).loss.item()
    tokens = sum(label >= 0 for label in labels)
    return loss * tokens, tokens


def test_scores_are_those_of_plain_transformers(tiny_model, rows):
    scores = score(tiny_model, rows, SETTINGS, "base")
    for i, row in enumerate(rows):
        found = [by_hand(tiny_model, row.prompt, choice) for choice in CHOICES]
        nll, tokens = found[CHOICES.index(row.completion)]
        assert scores.nll[i] == pytest.approx(nll, abs=1e-3)
        assert scores.tokens[i] == tokens
        assert scores.predicted[i] == int(np.argmin([value for value, _ in found]))


def test_a_batchs_size_changes_nothing(tiny_model, rows):
    one = score(tiny_model, rows, SETTINGS | {"batch_size": 1}, "base")
    many = score(tiny_model, rows, SETTINGS | {"batch_size": 100}, "base")
    assert one.nll == pytest.approx(many.nll, abs=1e-4)
    assert (one.predicted == many.predicted).all()
    assert (one.exact == many.exact).all()


def test_an_exact_answer_is_the_completion_to_the_letter(tiny_model, held_out_files):
    tokenizer, model = load_tokenizer(tiny_model), load_model(tiny_model)
    first = held_out(*held_out_files(["hello", "world"], ["x", "y"]), [], None)
    settings = SETTINGS | {"choices": [], "by": None}
    answers = []
    for row in first:
        ids = tokenizer(row.prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        made = model.generate(
            ids, max_new_tokens=5, do_sample=False, eos_token_id=end_of_turn(tokenizer)
        )
        answers.append(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))
    told = [replace(row, completion=text) for row, text in zip(first, answers, strict=True)]
    assert score(tiny_model, told, settings, "base").exact.tolist() == [True, True]
    wrong = [replace(row, completion=text + "!") for row, text in zip(first, answers, strict=True)]
    assert score(tiny_model, wrong, settings, "base").exact.tolist() == [False, False]


def test_metrics_hang_together(tiny_model, rows, capsys):
    found = evaluate({"base": tiny_model, "federated": tiny_model}, rows, SETTINGS)
    base = found["base"]
    assert found["federated"] == base
    assert found["difference"]["accuracy"] == {"value": 0, "low": 0, "high": 0}
    assert base["rows"] == 12
    assert base["perplexity"]["value"] == pytest.approx(np.exp(base["loss"]["value"]), rel=1e-4)
    for name in ("loss", "perplexity", "accuracy", "macro_f1", "exact_match"):
        assert base[name]["low"] <= base[name]["value"] <= base[name]["high"], name
    hits = sum(base["confusion"][choice][choice] for choice in CHOICES)
    assert base["accuracy"]["value"] == pytest.approx(hits / 12, abs=1e-5)
    assert base["by_column"] == "domain"
    assert {value: part["rows"] for value, part in base["by"].items()} == {"a": 6, "b": 6}
    mean = sum(part["accuracy"]["value"] for part in base["by"].values()) / 2
    assert mean == pytest.approx(base["accuracy"]["value"], abs=1e-5)
    assert base["exact_match"]["rows"] == 4
    assert "base: 12 rows, loss " in capsys.readouterr().err


def test_what_was_not_asked_for_is_null(tiny_model, rows):
    settings = SETTINGS | {"choices": [], "by": None, "generation": {"rows": 0}}
    found = evaluate({"base": tiny_model, "federated": tiny_model}, rows, settings)
    missing = {name for name, value in found["base"].items() if value is None}
    assert missing == {"accuracy", "macro_f1", "confusion", "exact_match", "by", "by_column"}
    assert found["difference"] == {"accuracy": None}


def step(tiny_model, files, output, **changed):
    preprocessed, dataset = files
    command = [sys.executable, STEP, "--config", json.dumps(SETTINGS | changed)]
    command += ["--base", tiny_model, "--merged", tiny_model, "--preprocessed", preprocessed]
    command += ["--dataset", dataset, "--output", output, "--cores", "1"]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_step_writes_what_the_library_finds(tiny_model, files, rows, tmp_path):
    output = tmp_path / "metrics.json"
    assert step(tiny_model, files, output).returncode == 0
    found = evaluate({"base": tiny_model, "federated": tiny_model}, rows, SETTINGS)
    assert json.loads(output.read_text()) == found


def test_the_step_tells_a_wrong_column_in_two_lines(tiny_model, files, tmp_path):
    done = step(tiny_model, files, tmp_path / "metrics.json", by="domian")
    assert done.returncode == 1
    assert done.stderr.startswith("error: evaluation.by: 'domian' is not a column")
    assert "Traceback" not in done.stderr


def test_plain_text_is_scored_from_its_second_token_and_never_generated(tiny_model):
    ids = load_tokenizer(tiny_model)("a plain text")["input_ids"]
    row = Row(prompt="", completion="a plain text", ids=tuple(ids), start=1)
    scores = score(tiny_model, [row], SETTINGS | {"choices": [], "by": None}, "base")
    with torch.inference_mode():
        loss = load_model(tiny_model)(
            input_ids=torch.tensor([ids]), labels=torch.tensor([ids])
        ).loss.item()
    assert scores.tokens.tolist() == [len(ids) - 1]
    assert scores.nll[0] / scores.tokens[0] == pytest.approx(loss, abs=1e-4)
    assert scores.sample is None

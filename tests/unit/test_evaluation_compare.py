import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from artifact_samples import partition_manifest

from blossomtune.config.lora import LoraSettings
from blossomtune.evaluation.compare import evaluate_models
from blossomtune.evaluation.rows import EvaluationRow, EvaluationSet, load_evaluation_set
from blossomtune.evaluation.scores import score_rows
from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.modeling.encoding import encode_example
from blossomtune.modeling.load import load_model
from blossomtune.modeling.tokenizer import get_end_of_turn_id, load_tokenizer

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
    "server_eval_rows": 0,
}
STEP = Path(__file__).parents[2] / "workflow_scripts" / "evaluate.py"


@pytest.fixture
def files(held_out_files):
    return held_out_files(TEXTS, LABELS, domain=["a", "b"] * 6)


def read(files, settings=SETTINGS):
    preprocessed, dataset = files
    return load_evaluation_set(preprocessed, preprocessed.parent / "partition", dataset, settings)


@pytest.fixture
def rows(files):
    return read(files).rows


def scores_of(directory, rows, settings=SETTINGS):
    return score_rows(StoredModel(directory), rows, settings, "base", len(rows))


def both(directory, rows, settings=SETTINGS):
    models = {"base": StoredModel(directory), "federated": StoredModel(directory)}
    return evaluate_models(models, EvaluationSet(rows, len(rows)), settings).model_dump()


@torch.inference_mode()
def by_hand(directory, prompt, completion):
    """Likelihood and length of a completion with transformers alone."""
    ids, labels = encode_example(load_tokenizer(directory), prompt, completion)
    loss = load_model(directory)(
        input_ids=torch.tensor([ids]), labels=torch.tensor([labels])
    ).loss.item()
    tokens = sum(label >= 0 for label in labels)
    return loss * tokens, tokens


def test_scores_are_those_of_plain_transformers(tiny_model, rows):
    scores = scores_of(tiny_model, rows)
    for i, row in enumerate(rows):
        found = [by_hand(tiny_model, row.prompt, choice) for choice in CHOICES]
        nll, tokens = found[CHOICES.index(row.completion)]
        assert scores.nll[i] == pytest.approx(nll, abs=1e-3)
        assert scores.tokens[i] == tokens
        assert scores.predicted[i] == int(np.argmin([value for value, _ in found]))


def test_a_batchs_size_changes_nothing(tiny_model, rows):
    one = scores_of(tiny_model, rows, SETTINGS | {"batch_size": 1})
    many = scores_of(tiny_model, rows, SETTINGS | {"batch_size": 100})
    assert one.nll == pytest.approx(many.nll, abs=1e-4)
    assert (one.predicted == many.predicted).all()
    assert (one.exact_match == many.exact_match).all()


def test_an_exact_answer_is_the_completion_to_the_letter(tiny_model, held_out_files):
    tokenizer, model = load_tokenizer(tiny_model), load_model(tiny_model)
    settings = SETTINGS | {"choices": [], "by": None}
    first = read(held_out_files(["hello", "world"], ["x", "y"]), settings).rows
    answers = []
    for row in first:
        ids = tokenizer(row.prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        made = model.generate(
            ids, max_new_tokens=5, do_sample=False, eos_token_id=get_end_of_turn_id(tokenizer)
        )
        answers.append(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))
    told = [replace(row, completion=text) for row, text in zip(first, answers, strict=True)]
    assert scores_of(tiny_model, told, settings).exact_match.tolist() == [True, True]
    wrong = [replace(row, completion=text + "!") for row, text in zip(first, answers, strict=True)]
    assert scores_of(tiny_model, wrong, settings).exact_match.tolist() == [False, False]


def test_metrics_hang_together(tiny_model, rows, capsys):
    found = both(tiny_model, rows)
    base = found["base"]
    assert found["federated"] == base
    nothing = {"value": 0, "low": 0, "high": 0}
    assert found["difference"] == {"base": {"accuracy": nothing, "loss": nothing}}
    assert (base["clients"], base["fairness"], found["left_out"]) == (None, None, 0)
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
    found = both(tiny_model, rows, settings)
    missing = {name for name, value in found["base"].items() if value is None}
    unasked = {"accuracy", "macro_f1", "confusion", "exact_match", "by", "by_column"}
    assert missing == unasked | {"clients", "fairness"}
    assert found["difference"]["base"]["accuracy"] is None


@pytest.fixture(scope="module")
def adapters(tiny_model, tmp_path_factory):
    """Adapters of three baselines, far enough from nothing that answers differ."""
    from blossomtune.training import adapter, adapter_files

    home, lora = tmp_path_factory.mktemp("baselines"), LoraSettings(r=2)
    for i, name in enumerate(("centralised", "local_0", "local_1")):
        model = adapter.build_peft_model(load_model(tiny_model), lora, seed=i)
        torch.manual_seed(i)
        state = {
            n: torch.randn_like(value) / 4 for n, value in adapter.get_adapter_state(model).items()
        }
        adapter_files.save_adapter(state, lora, "tiny", home / name)
    return home


@pytest.fixture(scope="module")
def compared(tiny_model, adapters, write_held_out, tmp_path_factory):
    """Metrics of base, federated and all baselines, where clients held out rows of their own."""
    own = {0: (["hm", "oh"], ["neutral", "positive"]), 1: (["no", "yes", "so"], CHOICES)}
    names = partition_manifest(["lab a", "lab b"])
    home = tmp_path_factory.mktemp("compared")
    held = read(write_held_out(home, TEXTS, LABELS, own, names, domain=["a", "b"] * 6))
    models = {"base": StoredModel(tiny_model), "federated": StoredModel(tiny_model)}
    models |= {d.name: StoredModel(tiny_model, d) for d in sorted(adapters.iterdir())}
    return held, models, evaluate_models(models, held, SETTINGS).model_dump()


def plain(each):
    """The values of a summary or a part of one."""
    return {name: each[name]["value"] for name in ("loss", "perplexity", "accuracy")}


def test_clients_own_models_are_one_contender(compared):
    held, models, found = compared
    local = found["local"]
    contenders = {"base", "federated", "centralised", "local"}
    assert set(found) == contenders | {"difference", "left_out", "schema_version"}
    assert set(local["models"]) == {"lab a", "lab b"}
    means = {
        name: np.mean([plain(m)[name] for m in local["models"].values()]) for name in plain(local)
    }
    assert plain(local) == pytest.approx(means, rel=1e-4)
    assert sum(sum(line.values()) for line in local["confusion"].values()) == 12
    assert set(local["by"]) == {"a", "b"}
    for number, client in enumerate(["lab a", "lab b"]):
        common = held.rows[: held.num_common_rows]
        scores = score_rows(
            models[f"local_{number}"], common, SETTINGS, client, held.num_common_rows
        )
        loss = scores.nll.sum() / scores.tokens.sum()
        assert local["models"][client]["loss"]["value"] == pytest.approx(loss, rel=1e-4)


def test_each_client_is_asked_on_its_own_rows(compared):
    held, models, found = compared
    for name, number in (("lab a", 0), ("lab b", 1)):
        rows = [held.rows[i] for i in held.rows_by_client[name]]
        for contender in ("base", "federated", "centralised", "local"):
            model = models[contender if contender != "local" else f"local_{number}"]
            scores = score_rows(model, rows, SETTINGS, name, len(rows))
            part = found[contender]["clients"][name]
            assert part["rows"] == len(rows)
            loss = scores.nll.sum() / scores.tokens.sum()
            assert part["loss"]["value"] == pytest.approx(loss, rel=1e-4)
            right = scores.predicted == [CHOICES.index(row.completion) for row in rows]
            assert part["accuracy"]["value"] == pytest.approx(right.mean(), abs=1e-4)
    values = [part["accuracy"]["value"] for part in found["local"]["clients"].values()]
    fairness = found["local"]["fairness"]
    assert (fairness["worst"]["value"], fairness["best"]["value"]) == (min(values), max(values))
    assert fairness["spread"] == pytest.approx(abs(values[0] - values[1]) / 2, abs=1e-5)
    assert (fairness["measure"], fairness["row_source"]) == ("accuracy", "own")


def test_differences_are_the_federated_models_minus_each_other(compared):
    _, _, found = compared
    assert set(found["difference"]) == {"base", "centralised", "local"}
    for other, difference in found["difference"].items():
        for name in ("accuracy", "loss"):
            less = found["federated"][name]["value"] - found[other][name]["value"]
            assert difference[name]["value"] == pytest.approx(less, abs=2e-4)
            assert difference[name]["low"] <= difference[name]["value"] <= difference[name]["high"]


def test_groups_of_the_common_rows_stand_for_clients_of_that_value(tiny_model, held_out_files):
    names = ["b", "a", "c"]
    natural = partition_manifest(names, partitioner="natural_id", column="domain")
    files = held_out_files(TEXTS, LABELS, None, natural, domain=["a", "b"] * 6)
    held = read(files)
    found = evaluate_models(
        {"base": StoredModel(tiny_model), "federated": StoredModel(tiny_model)}, held, SETTINGS
    ).model_dump()
    base = found["base"]
    assert list(base["clients"]) == ["b", "a"]
    assert {n: plain(p) for n, p in base["clients"].items()} == {
        n: plain(p) for n, p in base["by"].items()
    }
    assert base["fairness"]["row_source"] == "common"


def test_an_adapter_is_merged_in_the_bases_own_precision(tiny_model, adapters, rows, tmp_path):
    from blossomtune.export.merge import merge_adapter

    half = tmp_path / "half"
    load_model(tiny_model).to(torch.bfloat16).save_pretrained(half)
    load_tokenizer(tiny_model).save_pretrained(half)
    (tmp_path / "merged").mkdir()
    merge_adapter(half, adapters / "centralised", [[1, 5, 6]], tmp_path / "merged")
    stored = load_model(tmp_path / "merged").state_dict()
    in_memory = StoredModel(half, adapters / "centralised").load().state_dict()
    assert stored.keys() == in_memory.keys()
    assert all(torch.equal(stored[name], in_memory[name]) for name in stored)


def step(tiny_model, files, output, *more, **changed):
    preprocessed, dataset = files
    command = [sys.executable, STEP, "--config", json.dumps(SETTINGS | changed)]
    command += ["--base", tiny_model, "--merged", tiny_model, "--preprocessed", preprocessed]
    command += ["--partition", preprocessed.parent / "partition", "--dataset", dataset, *more]
    command += ["--output", output, "--cores", "1"]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_step_writes_what_the_library_finds(tiny_model, adapters, files, tmp_path):
    output = tmp_path / "metrics.json"
    control = ["--baseline", f"centralised={adapters / 'centralised'}"]
    done = step(tiny_model, files, output, *control, server_eval_rows=3)
    assert done.returncode == 0, done.stderr
    models = {"base": StoredModel(tiny_model), "federated": StoredModel(tiny_model)}
    models["centralised"] = StoredModel(tiny_model, adapters / "centralised")
    held = read(files, SETTINGS | {"server_eval_rows": 3})
    found = evaluate_models(models, held, SETTINGS).model_dump()
    assert json.loads(output.read_text()) == found
    assert (found["left_out"], found["base"]["rows"]) == (3, 9)


def test_the_step_tells_a_wrong_column_in_two_lines(tiny_model, files, tmp_path):
    done = step(tiny_model, files, tmp_path / "metrics.json", by="domian")
    assert done.returncode == 1
    assert done.stderr.startswith("error: evaluation.by: 'domian' is not a column")
    assert "Traceback" not in done.stderr


def test_plain_text_is_scored_from_its_second_token_and_never_generated(tiny_model):
    ids = load_tokenizer(tiny_model)("a plain text")["input_ids"]
    row = EvaluationRow(
        prompt="", completion="a plain text", input_ids=tuple(ids), completion_start=1
    )
    scores = scores_of(tiny_model, [row], SETTINGS | {"choices": [], "by": None})
    with torch.inference_mode():
        loss = load_model(tiny_model)(
            input_ids=torch.tensor([ids]), labels=torch.tensor([ids])
        ).loss.item()
    assert scores.tokens.tolist() == [len(ids) - 1]
    assert scores.nll[0] / scores.tokens[0] == pytest.approx(loss, abs=1e-4)
    assert scores.sampled_rows is None

"""Tiny models of all architectures: federate two rounds, merge, evaluate."""

import re
from dataclasses import replace

import pyarrow as pa
import pytest
from local_grid import build_experiment, load_adapter
from tiny_architectures import TEXT_MODELS, VISION_MODELS, build_model, save_model

from blossomtune.errors import UserError
from blossomtune.evaluation.choices import RowChoices
from blossomtune.evaluation.rows import EvaluationRow
from blossomtune.evaluation.scores import score_rows
from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.export.merge import load_test_prompts, merge_adapter
from blossomtune.modeling.encoding import IGNORE_INDEX, find_completion_start
from blossomtune.modeling.load import load_model
from blossomtune.modeling.tokenizer import load_tokenizer

SETTINGS = {"batch_size": 4, "seed": 7, "device": "cpu", "gpus": 1, "dtype": "float32"}
SETTINGS |= {"generation": {"rows": 4, "max_new_tokens": 4}}
CHOICES = ["no", "yes"]


@pytest.fixture
def files(architecture, federation_files, tmp_path):
    """Return the same files with a model of another architecture."""
    tiny_model = federation_files["model"]
    model = save_model(build_model(architecture), tmp_path / "model", tiny_model)
    (model / "provenance.json").write_bytes((tiny_model / "provenance.json").read_bytes())
    return federation_files | {"model": model}


def load_rows(files):
    """Return the held-out rows of the files."""
    tokenizer = load_tokenizer(files["model"])
    with pa.memory_map(str(files["preprocessed"] / "test.arrow")) as file:
        table = pa.ipc.open_stream(file).read_all().to_pylist()
    rows = []
    for row in table:
        start, ids = find_completion_start(row["labels"]), row["input_ids"]
        assert row["labels"][:start] == [IGNORE_INDEX] * start
        texts = tokenizer.decode(ids[:start]), tokenizer.decode(ids[start:-1])
        rows.append(EvaluationRow(*texts, tuple(ids), start))
    return rows


@pytest.mark.parametrize("architecture", [*TEXT_MODELS, *VISION_MODELS])
def test_model_is_federated_merged_and_evaluated(files, train, tmp_path):
    lora = {"target_modules": "all-linear"}
    run, history = train(build_experiment(lora=lora), files=files)
    losses = [record["evaluation"]["loss"] for record in history["rounds"]]
    assert losses[2] < losses[1] < losses[0]

    merged = tmp_path / "merged"
    merged.mkdir()
    merge_adapter(
        files["model"], run.paths.adapter, load_test_prompts(files["preprocessed"]), merged
    )
    free_text = load_rows(files)
    choices = [
        replace(row, choices=RowChoices(CHOICES, CHOICES.index(row.completion)))
        for row in free_text
    ]
    for rows in (choices, free_text):
        base, federated, alone = (
            score_rows(StoredModel(directory), rows, SETTINGS | {"batch_size": size}, "", len(rows))
            for directory, size in ((files["model"], 4), (merged, 4), (merged, 1))
        )
        assert federated.nll.sum() < base.nll.sum()
        assert federated.nll == pytest.approx(alone.nll, abs=1e-4)
        assert federated.answers == alone.answers
        assert losses[2] == pytest.approx(federated.nll.sum() / federated.tokens.sum(), abs=1e-3)


@pytest.mark.parametrize("architecture", VISION_MODELS)
def test_vision_tower_is_neither_trained_nor_lost(files, train, tmp_path):
    before = load_model(files["model"]).state_dict()
    others = [name for name in before if re.search("vision|visual|projector", name)]
    assert others
    run, _ = train(build_experiment(aggregation="flora"), files=files)
    assert not [name for name in load_adapter(run) if re.search("vision|visual|projector", name)]
    merged = tmp_path / "merged"
    merged.mkdir()
    prompts = load_test_prompts(files["preprocessed"])
    merge_adapter(files["model"], run.paths.adapter, prompts, merged)
    after = load_model(merged).state_dict()
    assert after.keys() == before.keys()
    assert all(after[name].equal(before[name]) for name in others)
    assert any(not after[name].equal(before[name]) for name in before)


@pytest.mark.parametrize(
    ("architecture", "experiment", "reason"),
    [
        ("qwen3", {"lora": {"target_modules": ["q_proj", "lm_head"]}}, "the same weights"),
        ("qwen3", {"lora": {"target_modules": ["embed_tokens"]}}, "the same weights"),
        ("lfm2", {"lora": {"r": 32, "target_modules": ["conv.conv"]}}, "could not be merged"),
        ("qwen3_moe", {"aggregation": "flora"}, "experts"),
    ],
)
def test_adapter_that_must_fail_is_refused_before_the_first_round(
    files, train, tmp_path, experiment, reason
):
    with pytest.raises(UserError, match=reason):
        train(build_experiment(**experiment), files=files)
    assert not (tmp_path / "run/checkpoints").exists()

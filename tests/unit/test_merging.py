import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from artifact_samples import (
    client_token_counts,
    dataset_manifest,
    federation_history,
    provenance,
    round_record,
    server_evaluation,
    tokenized_manifest,
)
from peft import LoraConfig, LoraModel, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from blossomtune.artifacts.files import write_artifact
from blossomtune.export import merge, model_card
from blossomtune.modeling.load import load_model

STEP = Path(__file__).parents[2] / "workflow_scripts" / "merge.py"
PROMPTS = [[1, 7, 8, 9], [1, 7, 8, 10, 11, 12]]
CONFIG = {
    "experiment": "trial",
    "model": "tiny",
    "partition": "by-domain",
    "preprocessing": "sentiment",
    "strategy": "fedavg",
    "aggregation": "flora",
    "digest": "d" * 64,
}


@pytest.fixture
def adapter(tiny_model, tmp_path):
    """An adapter that changes every answer."""
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"])
    adapted = get_peft_model(load_model(tiny_model), config)
    for name, tensor in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(tensor, std=0.3)
    adapted.peft_config["default"].base_model_name_or_path = "tiny"
    adapted.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    return tmp_path / "adapter"


@pytest.fixture
def base(tiny_model, tmp_path):
    """A base that knows where it came from."""
    for file in tiny_model.iterdir():
        (tmp_path / "base").mkdir(exist_ok=True)
        (tmp_path / "base" / file.name).write_bytes(file.read_bytes())
    source = {"kind": "hub", "repo": "someone/tiny", "revision": "main"}
    origin = provenance(source=source, revision="c0ffee", licence="Apache-2.0")
    write_artifact(tmp_path / "base" / "provenance.json", origin)
    return tmp_path / "base"


@pytest.fixture
def inputs(held_out_files, tmp_path):
    """What the stages before wrote: preprocessed, dataset, history."""
    preprocessed, dataset = held_out_files(["good", "bad"], ["yes", "no"])
    clients = [client_token_counts(0, 30), client_token_counts(1, 12)]
    write_artifact(preprocessed / "manifest.json", tokenized_manifest(clients))
    source = {"kind": "path", "path": "/secret/place", "files": "**"}
    rows = {"read": 44, "filtered": 0, "duplicates": 0, "limited": 0, "train": 42, "test": 2}
    write_artifact(dataset / "manifest.json", dataset_manifest(source=source, rows=rows))
    losses = (3.5, None, 0.25)
    rounds = [
        round_record(i, evaluation=None if loss is None else server_evaluation(loss))
        for i, loss in enumerate(losses)
    ]
    history = tmp_path / "history.json"
    write_artifact(
        history,
        federation_history(
            clients=["tweets", "films"],
            ranks=[4, 4],
            precision="int8",
            result_round=2,
            rounds=rounds,
        ),
    )
    return preprocessed, dataset, history


@torch.inference_mode()
def logits(model):
    return model(input_ids=torch.tensor([PROMPTS[1]])).logits


def merged(base, adapter, tmp_path):
    to = tmp_path / "merged"
    to.mkdir()
    merge.merge_adapter(base, adapter, PROMPTS, to)
    return to


def test_merged_is_base_and_adapter(tiny_model, adapter, tmp_path):
    to = merged(tiny_model, adapter, tmp_path)
    both = PeftModel.from_pretrained(load_model(tiny_model), adapter).eval()
    plain = AutoModelForCausalLM.from_pretrained(to, dtype="auto")
    assert torch.allclose(logits(plain), logits(both), atol=1e-3)
    assert (logits(load_model(tiny_model)) - logits(both)).abs().max() > 1  # the adapter does a lot
    record = json.loads((to / "merge.json").read_text())
    assert record.pop("largest_logit_difference") < record["tolerance"] == 1e-3
    expected = {"tolerance": 1e-3, "prompts": 2, "precision": "float32", "schema_version": 1}
    assert record == expected
    assert AutoTokenizer.from_pretrained(to).chat_template


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_merged_keeps_the_precision_of_its_base(tiny_model, adapter, tmp_path, precision):
    half = tmp_path / "half"
    load_model(tiny_model, dtype=precision).save_pretrained(half)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(half)
    to = merged(half, adapter, tmp_path)
    assert AutoModelForCausalLM.from_pretrained(to, dtype="auto").dtype == precision


def test_a_wrong_merge_is_an_error(tiny_model, adapter, tmp_path, monkeypatch):
    # PEFT's merge is right, so a wrong one must be made for the check to be seen failing
    monkeypatch.setattr(LoraModel, "merge_and_unload", lambda self, **_: self.unload())
    with pytest.raises(merge.MergeError, match=r"differ by up to .* on 2 held-out prompts; 0.001"):
        merged(tiny_model, adapter, tmp_path)


def test_prompts_end_where_the_answer_begins(inputs, tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    ends = [tokenizer.decode(ids) for ids in merge.load_test_prompts(inputs[0])]
    assert [text.endswith("<|im_start|>assistant\n") for text in ends] == [True, True]


def test_the_card_says_what_it_was_made_from(base, adapter, inputs):
    card = model_card.render_model_card(CONFIG, base, adapter, *inputs)
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "base_model": "someone/tiny",
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["federated-learning", "flower", "lora", "blossomtune"],
    }
    for words in (
        "someone/tiny on the Hugging Face hub, revision c0ffee, licence Apache-2.0",
        "files of our own, revision unknown, licence unknown",
        "42 for training, 2 held out",
        "| strategy fedavg, aggregation flora, messages in int8 |",
        "| Rounds | 2; this is the adapter of round 2 |",
        "r = 4, alpha = 8, dropout = 0.0, on down_proj, q_proj |",
        "| Held-out loss after round 0 | 3.5000 |\n| Held-out loss after round 2 | 0.2500 |\n",
        "SHA-256 " + "d" * 64,
        "| tweets | 30 |\n| films | 12 |\n",
        f"torch {torch.__version__}",
    ):
        assert words in body, words
    assert "/secret" not in card
    assert "rivacy" not in card


def test_the_card_says_which_round_it_is_and_what_privacy_was_spent(base, adapter, inputs):
    told = json.loads(inputs[2].read_text())
    told |= {"result_round": 1, "stop_reason": "the budget is spent"}
    told["rounds"][1]["evaluation"] = {"loss": 1.25, "perplexity": 3.49, "rows": 8}
    told["privacy"] = {"epsilon": 4.2041, "delta": 1e-5, "noise_multiplier": 2.0}
    told["privacy"] |= {"clipping": "adaptive", "side": "client"}
    inputs[2].write_text(json.dumps(told))
    settings = json.loads((adapter / "adapter_config.json").read_text())
    settings["rank_pattern"] = {"model.layers.0.self_attn.q_proj": 12}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    card = " ".join(model_card.render_model_card(CONFIG, base, adapter, *inputs).split())
    for words in (
        "that of round 1 was merged",
        "| Rounds | 2; this is the adapter of round 1 |",
        "| Stopped early | the budget is spent |",
        "| epsilon = 4.21, delta = 1e-05, of all rounds together |",  # rounded up
        "The adapter is (4.21, 1e-05)-differentially private for each client",
        "cut to a norm (adaptive, by the client)",
        "noise of 2.0 times that norm",
        "r = up to 12, alpha = 8",
        "| Held-out loss after round 1 | 1.2500 | | Configuration",
    ):
        assert words in card, words


def test_the_card_of_many_clients_stays_short(base, adapter, inputs):
    counts = [client_token_counts(i, 2) for i in range(100)]
    write_artifact(inputs[0] / "manifest.json", tokenized_manifest(counts))
    told = json.loads(inputs[2].read_text()) | {"clients": [f"c{i}" for i in range(100)]}
    told["ranks"] = [4] * 100
    inputs[2].write_text(json.dumps(told))
    card = model_card.render_model_card(CONFIG, base, adapter, *inputs)
    assert "200 for training" in card
    assert "| c19 | 2 |\n| 80 more | 160 |\n\n" in card


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("MIT", {"license": "mit"}),
        (None, {"license": "unknown"}),
        ("ask: us", {"license": "other", "license_name": "ask: us"}),
    ],
)
def test_licences_are_named_as_the_hub_names_them(text, fields):
    assert model_card._build_license_fields(text) == fields


@pytest.fixture
def two_threads():
    """As many as the step takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_step_makes_the_same_bytes_again(base, adapter, inputs, tmp_path, two_threads):
    preprocessed, dataset, history = inputs
    output = tmp_path / "from the step"
    command = [sys.executable, STEP, "--config", json.dumps(CONFIG), "--model", base]
    command += ["--adapter", adapter, "--preprocessed", preprocessed, "--dataset", dataset]
    command += ["--history", history, "--output", output]
    subprocess.run(command, check=True, capture_output=True)

    again = tmp_path / "again"
    again.mkdir()
    merge.merge_adapter(base, adapter, merge.load_test_prompts(preprocessed), again)
    (again / "README.md").write_text(model_card.render_model_card(CONFIG, base, adapter, *inputs))
    made = {file.name: file.read_bytes() for file in output.iterdir()}
    assert made == {file.name: file.read_bytes() for file in again.iterdir()}
    assert {"README.md", "merge.json", "model.safetensors"} <= set(made)
    assert not any(str(tmp_path).encode() in content for content in made.values())

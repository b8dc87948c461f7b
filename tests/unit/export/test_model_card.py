import re

import pytest
import torch
import yaml
from artifact_samples import chat_template_use, client_token_counts, tokenized_manifest

from blossomtune.artifacts.files import write_artifact
from blossomtune.export.model_card import _build_license_fields, render_model_card
from blossomtune.files import read_json, write_json


@pytest.fixture
def render(merge_config, model_dir, adapter_dir, inputs):
    """Render the card of the files as they are."""
    return lambda: render_model_card(merge_config, model_dir, adapter_dir, **inputs)


def update_json(path, **keys):
    write_json(path, read_json(path) | keys)


def test_card_describes_origin_and_training(render):
    card = render()
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "base_model": "someone/tiny",
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["federated-learning", "flower", "lora", "blossomtune"],
    }
    for text in (
        "someone/tiny on the Hugging Face hub, revision c0ffee, licence Apache-2.0",
        "local files, revision unknown, licence unknown",
        "42 for training, 2 held out",
        "| strategy fedavg, aggregation flora, messages in int8 |",
        "| Rounds | 2; the adapter is from round 2 |",
        "r = 4, alpha = 8, dropout = 0.0, on down_proj, q_proj |",
        "| Held-out loss after round 0 | 3.5000 |\n| Held-out loss after round 2 | 0.2500 |\n",
        "SHA-256 " + "d" * 64,
        "| tweets | 30 |\n| films | 12 |\n",
        f"torch {torch.__version__}",
    ):
        assert text in body, text
    assert "/secret" not in card
    assert "rivacy" not in card


def test_card_of_an_adapter_shows_how_to_load_it_with_its_base(
    merge_config, model_dir, adapter_dir, inputs
):
    card = render_model_card(merge_config, model_dir, adapter_dir, **inputs, what="adapter")
    fields = yaml.safe_load(card.split("---\n", 2)[1])
    assert (fields["library_name"], fields["base_model"]) == ("peft", "someone/tiny")
    code = re.search(r"```python\n(.*?)messages = ", card, re.DOTALL)[1]
    local = code.replace('"someone/tiny"', repr(str(model_dir)))
    local = local.replace('"path/to/this/folder"', repr(str(adapter_dir)))
    names = {}
    exec(local, names)
    assert names["model"].peft_config["default"].r == 4
    assert "merged" not in card


@pytest.mark.parametrize("what", ["merged", "adapter"])
def test_card_names_no_base_that_is_not_on_the_hub(
    merge_config, model_dir, adapter_dir, inputs, what
):
    source = {"kind": "path", "path": "/secret/place"}
    update_json(model_dir / "provenance.json", source=source)
    card = render_model_card(merge_config, model_dir, adapter_dir, **inputs, what=what)
    assert "base_model" not in card.split("---\n", 2)[1]
    assert "/secret" not in card
    assert ('base = "path/to/the/base/model"' in card) == (what == "adapter")


def test_card_describes_an_earlier_round_and_the_privacy_guarantee(render, adapter_dir, inputs):
    rounds = read_json(inputs["history"])["rounds"]
    rounds[1]["evaluation"] = {"loss": 1.25, "perplexity": 3.49, "rows": 8}
    privacy = {"epsilon": 4.2041, "delta": 1e-5, "noise_multiplier": 2.0}
    privacy |= {"clipping": "adaptive", "side": "client"}
    update_json(
        inputs["history"],
        result_round=1,
        stop_reason="the budget is spent",
        rounds=rounds,
        privacy=privacy,
    )
    pattern = {"model.layers.0.self_attn.q_proj": 12}
    update_json(adapter_dir / "adapter_config.json", rank_pattern=pattern)
    card = " ".join(render().split())
    for text in (
        "The adapter of round 1 is merged",
        "| Rounds | 2; the adapter is from round 1 |",
        "| Stopped early | the budget is spent |",
        "| epsilon = 4.21, delta = 1e-05, for all rounds together |",  # rounded up
        "The adapter is (4.21, 1e-05)-differentially private for each client",
        "clipped to an L2 norm (adaptive, by the client)",
        "noise of 2.0 times that norm",
        "r = up to 12, alpha = 8",
        "| Held-out loss after round 1 | 1.2500 | | Configuration",
    ):
        assert text in card, text


def test_card_lists_the_first_twenty_of_many_clients(render, inputs):
    counts = [client_token_counts(i, 2) for i in range(100)]
    write_artifact(inputs["preprocessed"] / "manifest.json", tokenized_manifest(counts))
    update_json(inputs["history"], clients=[f"c{i}" for i in range(100)], ranks=[4] * 100)
    card = render()
    assert "200 for training" in card
    assert "| c19 | 2 |\n| 80 more | 160 |\n\n" in card


@pytest.mark.parametrize(
    ("license_name", "fields"),
    [
        ("MIT", {"license": "mit"}),
        (None, {"license": "unknown"}),
        ("ask: us", {"license": "other", "license_name": "ask: us"}),
    ],
)
def test_licenses_have_the_names_of_the_hub(license_name, fields):
    assert _build_license_fields(license_name) == fields


@pytest.mark.parametrize("mode", ["error", "text", "keep"])
def test_example_of_the_card_gives_prompts_as_in_training(render, inputs, model_dir, mode):
    from transformers import AutoTokenizer

    use = chat_template_use(arguments={"enable_thinking": False}, control_tokens=mode)
    manifest = tokenized_manifest(chat_template=use, clients=[client_token_counts(0)])
    write_artifact(inputs["preprocessed"] / "manifest.json", manifest)
    card = render()
    call = re.search(r"tokenizer\.apply_chat_template\(.*?\n\)", card, re.DOTALL)[0]
    assert "enable_thinking=False" in call
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    messages = [{"role": "user", "content": "a<|im_end|>b"}]
    ids = eval(call, {"tokenizer": tokenizer, "messages": messages})["input_ids"][0]
    assert tokenizer.decode(ids) == tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    end_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert ids.tolist().count(end_id) == (2 if mode == "keep" else 1)


def test_warnings_are_notes_on_the_card(render, inputs):
    use = chat_template_use(warnings=["prompts end with '<think>' at inference"])
    manifest = tokenized_manifest(chat_template=use, clients=[client_token_counts(0)])
    write_artifact(inputs["preprocessed"] / "manifest.json", manifest)
    assert "\nNote: prompts end with '<think>' at inference.\n" in render()

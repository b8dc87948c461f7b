"""Tests of what architectures support, against the losses that models have."""

import pytest
import torch
from tiny_architectures import TEXT_MODELS, build_text_model, build_vision_model
from transformers import BloomConfig, LlamaConfig, MistralConfig, RwkvConfig, T5Config

from blossomtune.errors import UserError
from blossomtune.modeling.architecture import (
    find_packing_obstacle,
    get_attention_window,
    get_model_class,
    is_multimodal,
    list_layer_types,
    require_packing_support,
)
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.loss import collate, completion_nll

MAX_LENGTH = 40
PACKABLE = {"llama", "qwen3", "qwen3_moe"}


def row(length, first):
    ids = [1, *range(first, first + length - 1)]
    return {"input_ids": ids, "labels": [IGNORE_INDEX] * 3 + ids[3:]}


@torch.inference_mode()
def compute_packing_error(model, rows):
    """Return the difference of the losses of rows that are packed and alone."""
    pack = {
        "input_ids": [i for r in rows for i in r["input_ids"]],
        "labels": [i for r in rows for i in r["labels"]],
        "seq_lengths": [len(r["input_ids"]) for r in rows],
    }
    packed = completion_nll(model, collate([pack], pad_token_id=0))[0].sum()
    alone = sum(completion_nll(model, collate([r], pad_token_id=0))[0].sum() for r in rows)
    return abs(float(packed - alone))


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_packing_is_exact_or_refused(name):
    model = build_text_model(name)
    error = compute_packing_error(model, [row(20, 20), row(12, 60), row(8, 90)])
    obstacle = find_packing_obstacle(model.config, MAX_LENGTH)
    assert (obstacle is None) == (name in PACKABLE)
    assert error <= 1e-4 if obstacle is None else error > 1e-4


def test_rows_within_an_attention_window_are_packed_exactly():
    model = build_text_model("gemma3")
    window = get_attention_window(model.config)
    assert window == 8
    assert find_packing_obstacle(model.config, window) is None
    assert "window of 8 tokens" in find_packing_obstacle(model.config, window + 1)
    assert compute_packing_error(model, [row(8, 20 * i) for i in range(1, 5)]) <= 1e-4
    assert compute_packing_error(model, [row(10, 20 * i) for i in range(1, 5)]) > 1e-4


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (RwkvConfig(), "mix tokens"),
        (BloomConfig(), "positions itself"),
        (MistralConfig(sliding_window=16), "window of 16"),
        (LlamaConfig(), None),
        (MistralConfig(sliding_window=None), None),
    ],
)
def test_reason_is_found_from_the_configuration_alone(config, reason):
    obstacle = find_packing_obstacle(config, MAX_LENGTH)
    assert obstacle is None if reason is None else reason in obstacle


def test_error_says_what_to_do(tmp_path):
    build_text_model("lfm2").config.save_pretrained(tmp_path)
    with pytest.raises(UserError) as error:
        require_packing_support(tmp_path, MAX_LENGTH)
    assert str(error.value) == (
        "packing: Lfm2ForCausalLM cannot train on several rows in one sequence: its layers (conv) "
        "mix tokens of neighbouring rows\n  hint: use packing: false"
    )
    build_text_model("gemma3").config.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="smaller max_length"):
        require_packing_support(tmp_path, MAX_LENGTH)
    build_text_model("llama").config.save_pretrained(tmp_path)
    require_packing_support(tmp_path, MAX_LENGTH)


def test_text_part_of_a_multimodal_model_decides():
    vision = build_vision_model("gemma3-vision")
    assert is_multimodal(vision.config)
    assert get_model_class(vision.config) is type(vision)
    text = build_text_model("gemma3")
    assert not is_multimodal(text.config)
    assert list_layer_types(vision.config) == list_layer_types(text.config)
    assert get_attention_window(vision.config) == get_attention_window(text.config)
    assert get_model_class(T5Config()) is None

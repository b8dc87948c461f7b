"""Tests of models without weights, and of reading single weights."""

import pytest
import torch
from tiny_architectures import build_text_model

from blossomtune.modeling.empty_model import build_empty_model, read_weight

NAME = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def directory(tmp_path):
    build_text_model("qwen3").to(torch.bfloat16).save_pretrained(tmp_path, max_shard_size="20KB")
    return tmp_path


def test_model_has_names_and_shapes_but_no_memory_for_weights(directory):
    full, empty = build_text_model("qwen3"), build_empty_model(directory)
    shapes = {name: weight.shape for name, weight in full.named_parameters()}
    assert {name: weight.shape for name, weight in empty.named_parameters()} == shapes
    weights = list(empty.parameters())
    assert sum(weight.untyped_storage().nbytes() for weight in weights) == 4 * len(weights)
    assert {(weight.dtype, weight.device.type) for weight in weights} == {(torch.float32, "cpu")}
    assert empty.lm_head.weight is empty.model.embed_tokens.weight


def test_single_weight_is_read_in_its_stored_dtype(directory):
    expected = build_text_model("qwen3").to(torch.bfloat16).state_dict()[NAME]
    assert torch.equal(read_weight(directory, NAME), expected)
    assert len(list(directory.glob("*.safetensors"))) > 1
    with pytest.raises(KeyError):
        read_weight(directory, "lm_head.weight")


def test_weight_of_a_model_in_one_file_is_read(tmp_path):
    build_text_model("qwen3").save_pretrained(tmp_path)
    assert torch.equal(read_weight(tmp_path, NAME), build_text_model("qwen3").state_dict()[NAME])
    with pytest.raises(KeyError):
        read_weight(tmp_path, "lm_head.weight")

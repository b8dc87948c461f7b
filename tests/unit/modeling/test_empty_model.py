"""Tests of models without weights."""

import pytest
import torch
from tiny_architectures import build_text_model

from blossomtune.modeling.empty_model import build_empty_model
from blossomtune.modeling.load import load_model


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


def test_buffers_that_are_not_stored_have_their_values(directory):
    buffers = dict(build_empty_model(directory).named_buffers())
    assert buffers
    assert all(value.equal(buffers[name]) for name, value in load_model(directory).named_buffers())


def test_result_of_a_weight_that_is_nan_is_nan(directory):
    with torch.no_grad():
        model = build_empty_model(directory, torch.nan)
        assert model(input_ids=torch.tensor([[1, 2]])).logits.isnan().all()

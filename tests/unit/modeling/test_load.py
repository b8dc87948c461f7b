"""Tests of loaded models."""

import pytest
import torch
from tiny_architectures import VISION_MODELS, build_vision_model, save_model

from blossomtune.modeling.load import load_model, parse_dtype
from blossomtune.modeling.tokenizer import load_tokenizer


def test_model_is_loaded_for_evaluation_in_float32(tiny_model):
    model = load_model(tiny_model)
    assert model.dtype == torch.float32
    assert not model.training
    assert load_tokenizer(tiny_model).decode(load_tokenizer(tiny_model)("né")["input_ids"]) == "né"


@pytest.mark.parametrize("name", VISION_MODELS)
def test_model_that_reads_images_is_loaded_as_a_whole(tiny_model, tmp_path, name):
    model = build_vision_model(name)
    loaded = load_model(save_model(model, tmp_path / "model", tiny_model))
    assert loaded.state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    ("dtype", "compute_dtype"), [("bfloat16", "bfloat16"), ("float16", "float16")]
)
def test_other_weights_of_a_quantized_base_have_the_base_s_dtype(tiny_model, dtype, compute_dtype):
    model = load_model(tiny_model, parse_dtype(dtype), "4bit")
    layer = model.model.layers[0]
    assert layer.input_layernorm.weight.dtype == parse_dtype(dtype)
    assert layer.self_attn.q_proj.weight.dtype == torch.uint8
    assert layer.self_attn.q_proj.compute_dtype == parse_dtype(compute_dtype)

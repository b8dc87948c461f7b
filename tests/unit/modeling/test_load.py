"""Tests of loaded models."""

import torch

from blossomtune.modeling.load import load_model
from blossomtune.modeling.tokenizer import load_tokenizer


def test_model_is_loaded_for_evaluation_in_float32(tiny_model):
    model = load_model(tiny_model)
    assert model.dtype == torch.float32
    assert not model.training
    assert load_tokenizer(tiny_model).decode(load_tokenizer(tiny_model)("né")["input_ids"]) == "né"

"""Tests of stored models with an adapter."""

import torch

from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.modeling.load import load_model
from blossomtune.modeling.tokenizer import load_tokenizer


def test_adapter_is_merged_in_the_precision_of_the_base(tiny_model, adapters, tmp_path):
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


def test_weights_have_the_requested_dtype(tiny_model, adapters):
    for model in (StoredModel(tiny_model), StoredModel(tiny_model, adapters / "centralised")):
        loaded = model.load(torch.bfloat16)
        assert {value.dtype for value in loaded.parameters()} == {torch.bfloat16}
        assert not loaded.training

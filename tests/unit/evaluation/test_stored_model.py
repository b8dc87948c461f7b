"""Tests of stored models with an adapter."""

import pytest
import torch

from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.modeling.load import load_model
from blossomtune.modeling.tokenizer import load_tokenizer


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("loaded", [torch.float32, torch.bfloat16])
def test_adapter_is_merged_as_in_a_stored_model(tiny_model, adapters, tmp_path, stored, loaded):
    from blossomtune.export.merge import merge_adapter

    base = tmp_path / "base"
    load_model(tiny_model).to(stored).save_pretrained(base)
    load_tokenizer(tiny_model).save_pretrained(base)
    (tmp_path / "merged").mkdir()
    merge_adapter(base, adapters / "centralised", [[1, 5, 6]], tmp_path / "merged")
    merged = load_model(tmp_path / "merged", loaded).state_dict()
    in_memory = StoredModel(base, adapters / "centralised").load(loaded).state_dict()
    assert merged.keys() == in_memory.keys()
    assert all(torch.equal(merged[name], in_memory[name]) for name in merged)


def test_weights_have_the_requested_dtype(tiny_model, adapters):
    for model in (StoredModel(tiny_model), StoredModel(tiny_model, adapters / "centralised")):
        loaded = model.load(torch.bfloat16)
        assert {value.dtype for value in loaded.parameters()} == {torch.bfloat16}
        assert not loaded.training

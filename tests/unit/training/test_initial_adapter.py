"""Tests of initializing an adapter without the base model."""

import pytest
import torch
from tiny_architectures import TEXT_MODELS, VISION_MODELS, build_model
from transformers import PreTrainedModel

from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.modeling import load
from blossomtune.training import adapter
from blossomtune.training.initial_adapter import build_initial_adapter

DORA = ["llama", "qwen3", "gemma3-vision"]  # the last one's files have other names


def save(name, folder):
    build_model(name).save_pretrained(folder, max_shard_size="20KB")
    return folder


def build_with_base(directory, lora):
    model = adapter.build_peft_model(load.load_model(directory), lora, seed=3)
    return adapter.get_adapter_state(model), adapter.get_excluded_modules(model)


@pytest.mark.parametrize(
    ("name", "dora"),
    [*((name, False) for name in [*TEXT_MODELS, *VISION_MODELS]), *((name, True) for name in DORA)],
)
def test_adapter_has_the_bits_that_the_loaded_base_gives(name, dora, tmp_path):
    lora = LoraSettings(r=2, target_modules="all-linear", dora=dora)
    directory = save(name, tmp_path)
    initial = build_initial_adapter(directory, lora, seed=3)
    expected, excluded = build_with_base(directory, lora)
    assert initial.exclude_modules == excluded
    assert initial.state.keys() == expected.keys()
    assert all(torch.equal(initial.state[n], value) for n, value in expected.items())
    assert any(n.endswith("magnitude_vector") for n in expected) == dora


def test_base_is_not_loaded(tmp_path, monkeypatch):
    directory = save("llama", tmp_path)
    monkeypatch.delattr(PreTrainedModel, "from_pretrained")
    for dora in (False, True):
        assert build_initial_adapter(directory, LoraSettings(r=2, dora=dora), seed=3).state


def test_adapter_that_could_not_be_merged_is_refused(tmp_path):
    lora = LoraSettings(r=2, target_modules=["q_proj", "lm_head"])
    with pytest.raises(UserError, match="lm_head has the same weights as embed_tokens"):
        build_initial_adapter(save("qwen3", tmp_path), lora, seed=3)

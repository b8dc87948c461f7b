"""Memory of a model that trains, by its config.json."""

import pytest
import torch
from tiny_architectures import build_text_model

from blossomtune.config.lora import LoraSettings
from blossomtune.planning.model_memory import estimate_scoring_memory, estimate_training_memory

LORA = LoraSettings(r=4, target_modules="all-linear")


@pytest.fixture
def save_config(tmp_path):
    """Return a function that writes config.json of an architecture and returns model and folder."""

    def save(name):
        model = build_text_model(name)
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(tmp_path)
        return model, tmp_path

    return save


def build_rows(count, length):
    labels = [-100] * (length - 4) + [8] * 4
    return [{"input_ids": [i, *[7] * (length - 1)], "labels": labels} for i in range(count)]


def estimate(folder, count=4, length=60, arguments=None, lora=LORA, **options):
    rows = build_rows(count, length)
    return estimate_training_memory(folder, lora, lora.r, arguments or {}, rows, **options)


@pytest.mark.parametrize("name", ["llama", "qwen3_moe", "gemma3", "qwen3_5", "falcon_h1"])
def test_weights_are_those_of_the_model(save_config, name):
    model, folder = save_config(name)
    memory = estimate(folder, count=1, length=20, lora=LoraSettings(r=4))
    weights = sum(p.nbytes for p in model.parameters())
    assert weights <= memory.weights <= 1.1 * weights  # and buffers
    assert memory.activations > 0
    assert memory.adapter == 5 * 4 * memory.adapter_parameters  # with AdamW's state


def test_activations_grow_with_the_batch_and_shrink_with_checkpointing(save_config):
    _, folder = save_config("llama")
    one, two = estimate(folder, 4), estimate(folder, 8)
    assert 1.9 < two.activations / one.activations < 2.1
    checkpointed = estimate(folder, 4, arguments={"gradient_checkpointing": True})
    assert checkpointed.activations < 0.8 * one.activations
    assert checkpointed.weights == one.weights


def test_lower_precision_needs_less(save_config):
    _, folder = save_config("llama")
    single, half = estimate(folder), estimate(folder, dtype=torch.bfloat16)
    quantized = estimate(folder, quantization="4bit")
    assert half.weights < 0.6 * single.weights
    assert half.adapter == single.adapter  # float32
    assert quantized.weights < 0.6 * single.weights  # embeddings stay float32


def test_scoring_keeps_no_activations(save_config):
    _, folder = save_config("llama")
    scoring = estimate_scoring_memory(folder, build_rows(4, 60))
    assert 0 < scoring.activations < estimate(folder, 4).activations / 2

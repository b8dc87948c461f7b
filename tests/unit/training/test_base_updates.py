"""Tests of updates of the base weights."""

import torch
from peft import PeftModel

from blossomtune.aggregation.layers import list_layers
from blossomtune.config.lora import LoraSettings
from blossomtune.modeling.load import load_model
from blossomtune.training import adapter
from blossomtune.training.adapter_files import save_adapter_from_factors
from blossomtune.training.base_updates import BaseUpdates

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
NUM_ROUNDS = 64


def build_base(tiny_model, dtype):
    model = adapter.build_peft_model(load_model(tiny_model, dtype), LoraSettings(r=2), seed=1)
    return model, model.get_submodule(LAYER).get_base_layer().weight


def test_base_delta_and_saved_factors_give_the_same_model(tiny_model, tmp_path):
    ids = torch.arange(10)[None]
    generator = torch.Generator().manual_seed(0)
    model = adapter.build_peft_model(load_model(tiny_model), LoraSettings(r=2), seed=1)
    factors = {}
    for i, layer in enumerate(list_layers(adapter.get_adapter_state(model))):
        d, k = model.get_submodule(layer).get_base_layer().weight.shape
        rank = 3 + i % 2  # ranks differ
        b, a = (torch.randn(s, generator=generator) * 0.2 for s in ((d, rank), (rank, k)))
        factors[layer] = (b, a)
    save_adapter_from_factors(factors, LoraSettings(r=2), "base", tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(load_model(tiny_model), tmp_path / "adapter").eval()
    before = model(ids).logits
    BaseUpdates(model).apply({1: factors})
    after = model(ids).logits
    assert (after - before).abs().max() > 1
    torch.testing.assert_close(loaded(ids).logits, after, rtol=1e-4, atol=1e-4)


def test_small_updates_of_a_bfloat16_base_add_up(tiny_model):
    """Each of them is a 64th of a rounding step: added to the rounded weight, it would be lost."""
    model, weight = build_base(tiny_model, torch.bfloat16)
    original = weight.detach().clone()
    spacing = original.float().abs() * 2.0**-7
    delta = {LAYER: (spacing / NUM_ROUNDS, torch.eye(original.shape[1]))}
    updates = BaseUpdates(model)
    updates.apply({1: delta})
    assert torch.equal(weight, original)
    for last in range(2, NUM_ROUNDS + 1):
        updates.apply(dict.fromkeys(range(1, last + 1), delta))
    error = weight.float() - (original.float() + spacing)
    assert (error.abs() <= 0.51 * spacing).all()


def test_a_bfloat16_base_has_the_same_bits_after_a_restart(tiny_model):
    generator = torch.Generator().manual_seed(0)
    deltas = {
        number: {LAYER: tuple(torch.randn(s, generator=generator) for s in ((32, 2), (2, 32)))}
        for number in (1, 2, 3)
    }
    (one, at_once), (two, step_by_step) = (build_base(tiny_model, torch.bfloat16) for _ in "ab")
    BaseUpdates(one).apply(deltas)
    updates = BaseUpdates(two)
    for last in (1, 2, 3):
        updates.apply({number: deltas[number] for number in range(1, last + 1)})
    assert updates.rounds == [1, 2, 3]
    assert torch.equal(at_once, step_by_step)

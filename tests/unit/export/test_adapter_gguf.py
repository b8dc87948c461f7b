"""Tests of adapters with their scaling folded in."""

import torch
from peft import PeftModel
from random_adapter import add_random_adapter
from safetensors.torch import load_file

from blossomtune.export.adapter_gguf import fold_scaling
from blossomtune.files import read_json
from blossomtune.modeling.load import load_model


def test_factors_have_the_update_that_peft_computes(tiny_model, tmp_path):
    query = "model.layers.0.self_attn.q_proj"
    patterns = {"rank_pattern": {query: 2}, "alpha_pattern": {query: 12}, "use_rslora": True}
    model = add_random_adapter(load_model(tiny_model), std=1.0, **patterns)
    model.save_pretrained(tmp_path / "adapter")
    (tmp_path / "out").mkdir()
    fold_scaling(tmp_path / "adapter", tmp_path / "out")
    assert read_json(tmp_path / "out/adapter_config.json")["lora_alpha"] == 0
    tensors = load_file(tmp_path / "out/adapter_model.safetensors")
    loaded = PeftModel.from_pretrained(load_model(tiny_model), tmp_path / "adapter")
    layers = {name.partition(".lora_")[0] for name in tensors}
    assert len(layers) == 4
    for layer in layers:
        update = tensors[f"{layer}.lora_B.weight"] @ tensors[f"{layer}.lora_A.weight"]
        expected = loaded.get_submodule(layer).get_delta_weight("default")
        assert torch.allclose(update, expected, atol=1e-6)

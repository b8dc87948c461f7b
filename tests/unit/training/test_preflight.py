"""Tests that a model is tried before its first round."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_architectures import TEXT_MODELS, VISION_MODELS, build_model, build_vision_model
from transformers import FalconConfig, FalconForCausalLM, RwkvConfig, RwkvForCausalLM

from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.training import adapter
from blossomtune.training.preflight import check_model

LORA = LoraSettings(r=2, target_modules="all-linear")
SMALL = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2}


def build(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return adapter.build_peft_model(model, LORA, seed=1)


@pytest.mark.parametrize("name", [*TEXT_MODELS, *VISION_MODELS])
def test_check_changes_neither_model_nor_random_state(name):
    model = adapter.build_peft_model(build_model(name), LORA, seed=1).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    check_model(model, LORA, packing=name in ("llama", "qwen3", "qwen3_moe"))
    after = model.state_dict()
    assert all(after[key].equal(value) for key, value in before.items())
    assert torch.get_rng_state().equal(random_state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


def test_model_whose_padding_is_not_masked_is_refused():
    model = build(RwkvForCausalLM(RwkvConfig(**SMALL, attention_hidden_size=32)))
    with pytest.raises(UserError, match=r"RwkvForCausalLM .* when a batch pads it"):
        check_model(model, LORA, packing=False)


def test_model_that_computes_positions_from_the_mask_is_refused_with_packing():
    config = FalconConfig(**SMALL, num_attention_heads=4, alibi=True, new_decoder_architecture=True)
    model = build(FalconForCausalLM(config))
    check_model(model, LORA, packing=False)
    with pytest.raises(UserError, match=r"packing: FalconForCausalLM (.|\n)*use packing: false"):
        check_model(model, LORA, packing=True)


@pytest.mark.parametrize("name", ["lfm2", "qwen3_5", "granitemoehybrid", "mamba2", "falcon_h1"])
def test_packing_that_mixes_rows_is_refused_by_the_losses_alone(name):
    model = adapter.build_peft_model(build_model(name), LORA, seed=1)
    with pytest.raises(UserError, match="packing: "):
        check_model(model, LORA, packing=True)


def test_adapter_that_never_learns_is_refused():
    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"])
    model = get_peft_model(build_vision_model("gemma3-vision"), config)
    message = r"model\.vision_tower\.encoder\.layers\.\*\.self_attn\.q_proj get no gradient"
    with pytest.raises(UserError, match=message):
        check_model(model, LoraSettings(target_modules=["q_proj"]), packing=False)

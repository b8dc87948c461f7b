"""Tests of the modules that get an adapter, and of merging on trial."""

import pytest
from tiny_architectures import VISION_MODELS, build_text_model, build_vision_model

from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.training import adapter
from blossomtune.training.target_modules import find_excluded_modules, require_mergeable

TOWERS = {
    "gemma3-vision": ["model.vision_tower", "model.multi_modal_projector"],
    "qwen3_5-vision": ["model.visual"],
}


def build(model, r=2, **lora):
    lora = LoraSettings(r=r, **lora)
    return adapter.build_peft_model(model, lora, seed=1), lora


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "fc1", "qkv", "down_proj"]])
@pytest.mark.parametrize("name", VISION_MODELS)
def test_only_the_language_model_gets_an_adapter(name, targets):
    model = build_vision_model(name)
    tower = [n for n, _ in model.named_modules() if n.startswith(tuple(TOWERS[name]))]
    peft_model, _ = build(model, target_modules=targets)
    state = adapter.get_adapter_state(peft_model)
    assert tower
    assert state
    assert all(n.startswith("base_model.model.model.language_model.layers.") for n in state)
    excluded = "|".join(TOWERS[name]).replace(".", r"\.")
    assert adapter.get_excluded_modules(peft_model) == rf"({excluded})(\..*)?"


def test_text_models_exclude_nothing():
    model, lora = build_text_model("llama"), LoraSettings(target_modules="all-linear")
    assert find_excluded_modules(model, lora) is None


@pytest.mark.parametrize("name", ["mamba2", "falcon_h1"])
def test_all_linear_leaves_out_what_fused_kernels_do_not_call(name):
    model, _ = build(build_text_model(name), target_modules="all-linear")
    modules = {n.split(".lora_")[0].split(".")[-1] for n in adapter.get_adapter_state(model)}
    assert "in_proj" in modules
    assert "out_proj" not in modules


@pytest.mark.parametrize(
    ("target", "other"), [("lm_head", "embed_tokens"), ("embed_tokens", "lm_head")]
)
def test_layer_with_shared_weights_is_refused(target, other):
    peft_model, lora = build(build_text_model("qwen3"), target_modules=["q_proj", target])
    message = f"{target} has the same weights as {other} .*\n  hint: leave {target} out"
    with pytest.raises(UserError, match=message):
        require_mergeable(peft_model, lora)
    require_mergeable(*build(build_text_model("llama"), target_modules=["q_proj", target]))


def test_layer_that_peft_cannot_merge_is_refused():
    peft_model, lora = build(build_text_model("lfm2"), r=32, target_modules=["conv.conv"])
    with pytest.raises(UserError, match=r"the adapter of conv could not be merged .*groups > 1"):
        require_mergeable(peft_model, lora)


def test_merging_on_trial_does_not_change_the_model():
    peft_model, lora = build(build_text_model("granitemoehybrid"), target_modules="all-linear")
    before = {name: value.clone() for name, value in peft_model.state_dict().items()}
    require_mergeable(peft_model, lora)
    after = peft_model.state_dict()
    assert after.keys() == before.keys()
    assert all(after[name].equal(value) for name, value in before.items())

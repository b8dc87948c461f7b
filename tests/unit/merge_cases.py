"""Build models with random adapters of all kinds that can be trained."""

import torch
import transformers
from tiny_architectures import SMALL, SPECIAL, build_model, save_model

from blossomtune.aggregation.layers import iter_factors
from blossomtune.config.lora import LoraSettings
from blossomtune.modeling.load import load_model
from blossomtune.training.adapter import (
    build_peft_model,
    get_adapter_state,
    get_excluded_modules,
)
from blossomtune.training.adapter_files import save_adapter, save_adapter_from_factors

ALL_LINEAR = {"target_modules": "all-linear"}
EMBEDDINGS = {"target_modules": ["embed_tokens", "lm_head", "q_proj"]}
FUSED = {"target_modules": ["c_attn", "c_proj"]}  # GPT-2 stores (in, out)

# name: architecture, LoRA settings, whether ranks differ per layer as after FLoRA
CASES = {
    "rslora": ("llama", {"rslora": True}, False),
    "dora": ("llama", {"dora": True}, False),
    "ranks": ("llama", {}, True),
    "embeddings": ("llama", EMBEDDINGS | {"dora": True}, False),
    "gpt2": ("gpt2", FUSED | {"dora": True}, False),
    "gpt2-ranks": ("gpt2", FUSED, True),
    "hrm_text": ("hrm_text", {"target_modules": ["q_proj", "down_proj"]}, False),
    **{
        name: (name, ALL_LINEAR, False)
        for name in ("llama", "qwen3", "qwen3_moe", "mamba2", "granitemoehybrid", "gemma3-vision")
    },
}


def build_any_model(name):
    """Return ``build_model`` of a name, or a small GPT-2 or HRM-Text."""
    if name not in ("gpt2", "hrm_text"):
        return build_model(name)
    torch.manual_seed(0)
    if name == "hrm_text":  # stores several weights as one, and has a tensor beside its layers
        return transformers.HrmTextForCausalLM(transformers.HrmTextConfig(**SMALL)).eval()
    sizes = {"vocab_size": 259, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **SPECIAL)).eval()


def write_case(name, folder, tokenizer_directory, dtype=torch.bfloat16):
    """Write a case's base model, in shards, and its adapter; return both folders."""
    architecture, settings, has_ranks = CASES[name]
    lora, base, adapter = LoraSettings(**{"r": 2} | settings), folder / "base", folder / "adapter"
    model = build_any_model(architecture).to(dtype)
    save_model(model, base, tokenizer_directory, max_shard_size="40KB")
    peft_model = build_peft_model(load_model(base), lora, seed=1)
    excluded = get_excluded_modules(peft_model)
    state = get_adapter_state(peft_model)
    state = {name: value + torch.randn_like(value) / 5 for name, value in state.items()}
    if has_ranks:
        factors = {
            layer: (torch.randn(len(b), 1 + i % 3), torch.randn(1 + i % 3, a.shape[1]) / 5)
            for i, (layer, (b, a)) in enumerate(iter_factors(state))
        }
        save_adapter_from_factors(factors, lora, "base", adapter, excluded)
    else:
        save_adapter(state, lora, "base", adapter, exclude_modules=excluded)
    return base, adapter

"""Build tiny random models of the architectures that are tested.

Their vocabulary is that of the fixture ``tiny_model``, whose tokenizer they share.
"""

import torch
import transformers

SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SMALL = {
    "vocab_size": 259,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.3,  # large enough for different answers
    **SPECIAL,
}
LINEAR = {
    "head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
MAMBA = {
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
    "mamba_expand": 2,
    "mamba_chunk_size": 16,
}
MAMBA2 = {
    "num_heads": 4,
    "head_dim": 16,
    "state_size": 8,
    "expand": 2,
    "n_groups": 1,
    "chunk_size": 16,
}
GEMMA = {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8}
GEMMA["layer_types"] = ["sliding_attention", "full_attention"]
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 8,
}

# name: model class, configuration class, values that differ from SMALL
TEXT_MODELS = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", {}),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {"head_dim": 8, "tie_word_embeddings": True}),
    "qwen3_moe": (
        "Qwen3MoeForCausalLM",
        "Qwen3MoeConfig",
        {
            "head_dim": 8,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
        },
    ),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", GEMMA),
    "lfm2": (
        "Lfm2ForCausalLM",
        "Lfm2Config",
        {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    ),
    "qwen3_5": ("Qwen3_5ForCausalLM", "Qwen3_5TextConfig", LINEAR),
    "granitemoehybrid": (
        "GraniteMoeHybridForCausalLM",
        "GraniteMoeHybridConfig",
        {
            "layer_types": ["linear_attention", "full_attention"],
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "shared_intermediate_size": 32,
            **MAMBA,
        },
    ),
    "mamba2": ("Mamba2ForCausalLM", "Mamba2Config", MAMBA2),
    "falcon_h1": ("FalconH1ForCausalLM", "FalconH1Config", {**MAMBA, "mamba_d_ssm": 64}),
}


def build_text_model(name):
    """Return a random text model of an architecture, the same on every call."""
    model_class, config_class, values = TEXT_MODELS[name]
    config = getattr(transformers, config_class)(**(SMALL | values))
    torch.manual_seed(0)
    return getattr(transformers, model_class)(config).eval()


def _build_gemma3():
    config = transformers.Gemma3Config(
        text_config=SMALL | GEMMA,
        vision_config=VISION,
        mm_tokens_per_image=4,
        image_token_index=258,
        boi_token_index=256,
        eoi_token_index=257,
        **SPECIAL,
    )
    return transformers.Gemma3ForConditionalGeneration(config)


def _build_qwen3_5():
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4}
    vision |= {"patch_size": 8, "out_hidden_size": 32, "num_position_embeddings": 16}
    names = ("image", "video", "vision_start", "vision_end")
    config = transformers.Qwen3_5Config(
        text_config=SMALL | LINEAR,
        vision_config=vision,
        **{f"{name}_token_id": 255 + i for i, name in enumerate(names)},
        **SPECIAL,
    )
    return transformers.Qwen3_5ForConditionalGeneration(config)


VISION_MODELS = {"gemma3-vision": _build_gemma3, "qwen3_5-vision": _build_qwen3_5}


def build_vision_model(name):
    """Return a random model that reads images, too, the same on every call."""
    torch.manual_seed(0)
    return VISION_MODELS[name]().eval()


def build_model(name):
    """Return ``build_text_model`` or ``build_vision_model`` of a name."""
    return build_vision_model(name) if name in VISION_MODELS else build_text_model(name)


def save_model(model, directory, tokenizer_directory, **arguments):
    """Write a model with the tokenizer of another folder; return the folder."""
    model.save_pretrained(directory, **arguments)
    transformers.AutoTokenizer.from_pretrained(tokenizer_directory).save_pretrained(directory)
    return directory

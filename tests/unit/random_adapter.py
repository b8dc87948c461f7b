"""Adapt models by an adapter that changes every output."""

import torch
from peft import LoraConfig, get_peft_model


def add_random_adapter(model, std=0.3, **settings):
    """Return a PEFT model with random factors of rank 4; the settings replace those of LoRA."""
    config = LoraConfig(
        **{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]} | settings
    )
    torch.manual_seed(1)
    adapted = get_peft_model(model, config)
    for name, tensor in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(tensor, std=std)
    return adapted

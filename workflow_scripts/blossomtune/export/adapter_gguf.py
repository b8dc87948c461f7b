"""Prepare an adapter for GGUF, which has one alpha and no other scaling."""

import math
from pathlib import Path

import safetensors.torch

from blossomtune.aggregation.types import LORA_A_SUFFIX, LORA_B_SUFFIX
from blossomtune.artifacts.adapter_config import AdapterConfig
from blossomtune.artifacts.files import read_artifact
from blossomtune.files import read_json, write_json


def fold_scaling(adapter_dir: Path, output_dir: Path) -> None:
    """Write an adapter whose factors B are multiplied by their layers' scaling.

    llama.cpp scales B A by alpha / rank; with alpha 0 it takes it as it is. RsLoRA's scaling and
    that of layers with another alpha have no place in the file.

    Args:
        adapter_dir: PEFT directory of the adapter.
        output_dir: Empty directory to write to.
    """
    config = read_artifact(adapter_dir / "adapter_config.json", AdapterConfig)
    tensors = safetensors.torch.load_file(adapter_dir / "adapter_model.safetensors")
    for name in [name for name in tensors if name.endswith(LORA_B_SUFFIX)]:
        layer = name.removesuffix(LORA_B_SUFFIX)
        rank = tensors[layer + LORA_A_SUFFIX].shape[0]
        alpha = config.alpha_pattern.get(layer.removeprefix("base_model.model."), config.lora_alpha)
        tensors[name] *= alpha / (math.sqrt(rank) if config.use_rslora else rank)
    safetensors.torch.save_file(tensors, output_dir / "adapter_model.safetensors")
    settings = read_json(adapter_dir / "adapter_config.json") | {"lora_alpha": 0}
    write_json(output_dir / "adapter_config.json", settings)

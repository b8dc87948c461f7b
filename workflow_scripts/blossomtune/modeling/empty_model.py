"""Build models without their weights, and read single weights of a model directory."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import Parameter
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from blossomtune.modeling.architecture import is_multimodal, load_config


def build_empty_model(directory: Path) -> Any:
    """Build the model that ``load_model`` returns, without memory for its weights.

    Each weight is a single one that is repeated over the weight's shape. Unlike tensors on the
    meta device, such weights let PEFT initialize adapters on the CPU.

    Args:
        directory: Model directory in Hugging Face's layout; only its configuration is read.

    Returns:
        A transformers model in float32, whose weights must not be changed.
    """
    config = load_config(directory)
    auto_class = AutoModelForImageTextToText if is_multimodal(config) else AutoModelForCausalLM
    with torch.device("meta"):
        model = auto_class.from_config(config, dtype=torch.float32, trust_remote_code=False)
    replacements: dict[Parameter, Parameter] = {}  # shared weights stay shared
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight not in replacements:
                values = torch.ones((), dtype=weight.dtype).expand(weight.shape)
                replacements[weight] = Parameter(values, requires_grad=False)
            setattr(module, name, replacements[weight])
    return model.eval()


def read_weight(directory: Path, name: str) -> Tensor:
    """Read one weight from a model directory.

    Args:
        directory: Model directory in Hugging Face's layout, with safetensors files.
        name: Name of the weight.

    Returns:
        The weight in its stored dtype.

    Raises:
        KeyError: If the files have no weight of this name.
    """
    index, file = directory / "model.safetensors.index.json", "model.safetensors"
    if index.exists():
        file = json.loads(index.read_text(encoding="utf-8"))["weight_map"][name]
    with safe_open(directory / file, "pt") as tensors:
        if name not in tensors.keys():  # noqa: SIM118 - no mapping
            raise KeyError(name)
        weight: Tensor = tensors.get_tensor(name)
    return weight

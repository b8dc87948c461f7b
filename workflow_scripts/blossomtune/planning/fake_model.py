"""Build a model that has shapes and dtypes, but no weights."""

from pathlib import Path
from typing import Any

import torch
from torch.nn import Parameter

from blossomtune.config.lora import LoraSettings
from blossomtune.modeling import attention
from blossomtune.modeling.architecture import load_config
from blossomtune.modeling.load import get_auto_class
from blossomtune.training.adapter import build_peft_model


def build_meta_model(directory: Path, dtype: torch.dtype) -> Any:
    """Build the model of a directory on PyTorch's device ``meta``, as ``load_model`` would load it.

    Args:
        directory: Model directory in Hugging Face's layout; only config.json is read.
        dtype: Type of the weights.

    Returns:
        A transformers model.
    """
    config = load_config(directory)
    with torch.device("meta"):
        model = get_auto_class(config).from_config(config, dtype=dtype).eval()
    attention.enable(model)
    return model


def add_meta_adapter(model: Any, lora: LoraSettings, rank: int) -> Any:
    """Add an adapter in float32 to a model on device ``meta``.

    Args:
        model: Result of ``build_meta_model``.
        lora: The experiment's LoRA settings.
        rank: Rank of the adapter.

    Returns:
        PEFT model in training mode.
    """
    with torch.device("meta"):
        model = build_peft_model(model, lora, seed=0, rank=rank)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model.train()


def replace_meta_tensors(model: Any) -> None:
    """Replace a model's tensors on device ``meta`` by new ones on the CPU, in place.

    Args:
        model: The model. Within ``count_allocations`` the new tensors are FakeTensors.
    """
    replaced: dict[int, Any] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, old in tensors.items():
                if old is None:
                    continue
                if id(old) not in replaced:
                    new = torch.empty(old.shape, dtype=old.dtype)
                    is_parameter = isinstance(old, Parameter)
                    replaced[id(old)] = Parameter(new, old.requires_grad) if is_parameter else new
                tensors[name] = replaced[id(old)]

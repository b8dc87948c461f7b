"""Build models without memory for their weights."""

from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch.nn import Parameter

from blossomtune.modeling import attention
from blossomtune.modeling.architecture import load_config
from blossomtune.modeling.load import get_auto_class


def build_empty_model(directory: Path, value: float = 1.0) -> Any:
    """Build the model that ``load_model`` returns, without memory for its weights.

    Each weight is a single number that is repeated over the weight's shape. Unlike tensors on the
    meta device, such weights let PEFT initialize adapters on the CPU. Buffers that are not stored,
    such as rotary frequencies, have their values.

    Args:
        directory: Model directory in Hugging Face's layout; only its configuration is read.
        value: The number. With NaN, a result that used a weight is NaN.

    Returns:
        A transformers model in float32, whose weights must not be changed.
    """
    config = load_config(directory)
    with init_empty_weights(include_buffers=False):
        model = get_auto_class(config).from_config(config, dtype=torch.float32)
    model.tie_weights()  # weights on the meta device were copied one by one
    replacements: dict[Parameter, Parameter] = {}  # shared weights stay shared
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight not in replacements:
                values = torch.full((), value, dtype=weight.dtype).expand(weight.shape)
                replacements[weight] = Parameter(values, requires_grad=False)
            setattr(module, name, replacements[weight])
    attention.enable(model)
    return model.eval()

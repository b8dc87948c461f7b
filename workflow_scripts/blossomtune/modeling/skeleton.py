"""Build models whose weights take no memory."""

from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import nn

from blossomtune.modeling.architecture import load_config
from blossomtune.modeling.load import get_auto_class


def build_skeleton(directory: Path) -> Any:
    """Build the model of a directory in float32, with a single NaN in place of each weight.

    So a result is NaN if a weight was used and not loaded before. Buffers that are not stored, such
    as rotary frequencies, have their values.

    Args:
        directory: Model directory in Hugging Face's layout.

    Returns:
        A transformers model in evaluation mode. ``layer_streaming`` runs it.
    """
    config = load_config(directory)
    with init_empty_weights(include_buffers=False):
        model = get_auto_class(config).from_config(config, dtype=torch.float32)
    placeholders: dict[int, nn.Parameter] = {}  # tied weights share one
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            value = torch.full((), torch.nan).expand(parameter.shape)
            placeholder = placeholders.setdefault(id(parameter), nn.Parameter(value, False))
            module.register_parameter(name, placeholder)
    return model.eval()

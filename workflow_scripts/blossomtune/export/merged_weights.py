"""Write merged weights over a copy of the base model's files."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME

from blossomtune.modeling.merged_layers import iter_merged_layers
from blossomtune.modeling.safetensors_header import read_header
from blossomtune.modeling.weight_reader import WeightReader, list_weight_files


def write_merged_weights(model: Any, weights: WeightReader, model_dir: Path, output: Path) -> None:
    """Write a base model's files with the merged weights in place of their own.

    All other bytes stay as they are, so names, order, shards and dtypes are the base's. One layer
    is in memory at a time.

    Args:
        model: PEFT model of an empty model.
        weights: The empty model's weights.
        model_dir: Hugging Face directory of the base model.
        output: Directory to write to.
    """
    for path in list_weight_files(model_dir):
        shutil.copyfile(path, output / path.name)
    if (model_dir / SAFE_WEIGHTS_INDEX_NAME).is_file():
        shutil.copyfile(model_dir / SAFE_WEIGHTS_INDEX_NAME, output / SAFE_WEIGHTS_INDEX_NAME)
    headers = {path.name: read_header(path) for path in list_weight_files(model_dir)}
    for layer in iter_merged_layers(model, weights):
        for key, tensor in weights.to_stored(layer).items():
            name = weights.files[key].name
            _overwrite(output / name, headers[name].data_start, headers[name].tensors[key], tensor)


def _overwrite(path: Path, data_start: int, entry: Mapping[str, Any], tensor: Tensor) -> None:
    """Write a tensor over one of the same shape and dtype."""
    begin, end = entry["data_offsets"]
    if list(tensor.shape) != entry["shape"] or tensor.nbytes != end - begin:
        raise ValueError(f"{path.name} has room for {entry}, not for a tensor of {tensor.shape}")
    with path.open("r+b") as file:
        file.seek(data_start + begin)
        tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tofile(file)

"""Read the weights of a model directory one at a time, from memory-mapped files."""

import copy
import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
    revert_weight_conversion,
)
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from blossomtune.modeling.safetensors_header import read_header

_FLOAT_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
"""Names of floating-point types in safetensors files."""


def list_weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files that transformers loads; a directory may have more."""
    single = directory / SAFE_WEIGHTS_NAME
    if single.is_file():
        return [single]
    index = json.loads((directory / SAFE_WEIGHTS_INDEX_NAME).read_text(encoding="utf-8"))
    return [directory / name for name in sorted(set(index["weight_map"].values()))]


def find_weights_dtype(directory: Path) -> torch.dtype:
    """Return the dtype of most weights of a model directory, whatever its config.json says."""
    sizes: Counter[str] = Counter()
    for path in list_weight_files(directory):
        for tensor in read_header(path).tensors.values():
            sizes[tensor["dtype"]] += math.prod(tensor["shape"])
    return _FLOAT_TYPES[max(_FLOAT_TYPES, key=lambda name: sizes[name])]


class WeightReader:
    """Weights in the dtype of their file, by the names of a model's parameters.

    Files name some weights differently and store some in other parts, such as one tensor per
    expert. The model's own rules for loading tell how.

    Args:
        directory: Model directory in Hugging Face's layout.
        model: The model of the directory.

    Attributes:
        files: File of each stored tensor.
    """

    def __init__(self, directory: Path, model: Any) -> None:
        self._model = model
        paths = list_weight_files(directory)
        self._open_files: dict[Path, Any] = {path: safe_open(path, "pt") for path in paths}
        self.files = {key: path for path in paths for key in read_header(path).tensors}
        conversions = get_model_conversion_mapping(model)
        renamings = [c for c in conversions if isinstance(c, WeightRenaming)]
        converters = [c for c in conversions if isinstance(c, WeightConverter)]
        self._converters = {p: c for c in converters for p in c.source_patterns}
        self._sources: dict[str, list[tuple[str, str | None]]] = {}
        self._groups: dict[str, list[str]] = {}
        """Parameters that are made from the same stored tensors, by the first of them."""
        state, prefix = model.state_dict(), model.base_model_prefix
        for key in sorted(self.files, key=dot_natural_key):
            name, pattern = rename_source_key(key, renamings, converters, prefix, state)
            if name not in state and key in state:
                name, pattern = key, None
            self._sources.setdefault(name, []).append((key, pattern))
            if name not in self._groups:
                self._groups[name] = self._list_targets(name, pattern)
        model._weight_conversions = [c for c in conversions if c.was_used()]  # for saving
        self._group_of = {name: first for first, names in self._groups.items() for name in names}
        for pair in model.all_tied_weights_keys.items():
            for tied, other in (pair, reversed(pair)):
                if tied not in self._group_of and other in self._group_of:
                    self._group_of[tied] = self._group_of[other]

    def _list_targets(self, name: str, pattern: str | None) -> list[str]:
        """Return the parameters that are made from the same stored tensors as one."""
        if pattern is None:
            return [name]
        first, *others = self._converters[pattern].target_patterns
        return [name, *(name.replace(first, other) for other in others)]

    def _read_tensor(self, key: str) -> Tensor:
        tensor: Tensor = self._open_files[self.files[key]].get_tensor(key)
        return tensor

    def __contains__(self, name: str) -> bool:
        return name in self._group_of

    def read(self, name: str) -> Tensor:
        """Read a parameter or buffer.

        It shares the memory of the file where it is stored as it is, and must not be written to.
        """
        group = self._group_of[name]
        sources = self._sources[group]
        if sources[0][1] is None:
            return self._read_tensor(sources[0][0])
        converter = copy.deepcopy(self._converters[sources[0][1]])
        for key, pattern in sources:
            converter.add_tensor(group, key, pattern, self._read_tensor(key))
        value = converter.convert(group, model=self._model, config=self._model.config)[name]
        tensor: Tensor = value[0] if isinstance(value, list) else value
        return tensor

    def to_stored(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert parameters to the tensors that are stored for them.

        Args:
            weights: Parameters by name.

        Returns:
            Tensors by their names in the files.
        """
        stored, converted = {}, {}
        for name, weight in weights.items():
            (key, pattern), *_ = self._sources[group := self._group_of[name]]
            if pattern is None:
                stored[key] = weight
            else:
                for other in self._groups[group]:
                    converted[other] = weights[other] if other in weights else self.read(other)
        prefix = f"{self._model.base_model_prefix}."
        for key, tensor in revert_weight_conversion(self._model, converted).items():
            stored[key if key in self.files else key.removeprefix(prefix)] = tensor
        return stored

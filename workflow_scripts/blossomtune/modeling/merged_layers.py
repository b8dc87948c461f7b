"""Merge an adapter into one layer at a time."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor

from blossomtune.modeling.weight_reader import WeightReader


def get_base_name(name: str) -> str:
    """Return the name that a parameter or module of a PEFT model has in its base model."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "")


def attach_adapter(empty_model: Any, adapter_dir: Path) -> Any:
    """Attach an adapter to an empty model.

    Args:
        empty_model: Result of ``build_empty_model``.
        adapter_dir: PEFT directory of the adapter, whose tensors are mapped, not read.

    Returns:
        PEFT model in evaluation mode.
    """
    return PeftModel.from_pretrained(empty_model, adapter_dir, low_cpu_mem_usage=True).eval()


def iter_merged_layers(model: Any, weights: WeightReader) -> Iterator[dict[str, Tensor]]:
    """Merge an adapter into stored weights, the weights of one numbered layer after another.

    Sums are taken in float32. The model is not changed.

    Args:
        model: PEFT model of an empty model.
        weights: The empty model's weights.

    Yields:
        Merged weights by the base model's parameter names, in the dtype that they are stored in.
    """
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, LoraLayer)]
    for _, group in groupby(layers, lambda item: re.sub(r"(\.\d+)\..*", r"\1", item[0])):
        yield dict(_merge_layer(name, layer, weights) for name, layer in group)


@torch.no_grad()
def _merge_layer(name: str, layer: Any, weights: WeightReader) -> tuple[str, Tensor]:
    parameter_name = getattr(layer, "parameter_name", "weight")
    base_name = f"{get_base_name(name)}.{parameter_name}"
    parameter = getattr(layer.get_base_layer(), parameter_name)
    unmerged, stored = parameter.data, weights.read(base_name)
    try:
        parameter.data = stored.float()
        layer.merge(safe_merge=True)  # in a copy: what is read may be the file itself
        return base_name, parameter.data.to(stored.dtype)
    finally:
        parameter.data = unmerged
        layer.merged_adapters.clear()

"""Initialize an adapter without loading the base model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch.nn import Parameter

from blossomtune.config.lora import LoraSettings
from blossomtune.modeling.empty_model import build_empty_model
from blossomtune.modeling.merged_layers import get_base_name
from blossomtune.modeling.weight_reader import WeightReader
from blossomtune.named_tensors import StateDict
from blossomtune.training import adapter
from blossomtune.training.target_modules import require_mergeable

_ADAPTER = "default"


@dataclass(frozen=True)
class InitialAdapter:
    """Adapter before the first round.

    Attributes:
        state: Tensors in float32, as in a PEFT model on the loaded base.
        exclude_modules: PEFT's key of this name, for the adapter's configuration.
    """

    state: StateDict
    exclude_modules: str | None


def build_initial_adapter(
    directory: Path, lora: LoraSettings, seed: int, rank: int | None = None
) -> InitialAdapter:
    """Build the initial adapter of a model directory.

    DoRA's magnitudes are norms of the base weights, which are read one after another.

    Args:
        directory: Directory of the base model.
        lora: The experiment's LoRA settings.
        seed: The configuration's seed.
        rank: Rank to use instead of ``lora.r``.

    Returns:
        The adapter.

    Raises:
        UserError: If the adapter does not fit the model, or could not be merged.
    """
    base = build_empty_model(directory)
    weights = WeightReader(directory, base) if lora.dora else None
    model = adapter.build_peft_model(base, lora, seed, rank)
    require_mergeable(model, lora)
    if weights is not None:
        _initialize_magnitudes(model, weights)
    return InitialAdapter(adapter.get_adapter_state(model), adapter.get_excluded_modules(model))


def restore_precision(model: Any, directory: Path, lora: LoraSettings, seed: int) -> None:
    """Give a new adapter its values in float32, which PEFT rounds to the dtype of the base.

    Args:
        model: PEFT model with a new adapter.
        directory: Directory of the base model.
        lora: The experiment's LoRA settings.
        seed: The configuration's seed.
    """
    if model.dtype != torch.float32:
        rank = model.peft_config[_ADAPTER].r
        adapter.set_adapter_state(model, build_initial_adapter(directory, lora, seed, rank).state)


def _initialize_magnitudes(model: Any, weights: WeightReader) -> None:
    """Initialize DoRA's magnitudes again, with the weights of the base model."""
    config = model.peft_config[_ADAPTER]
    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        base = layer.get_base_layer()
        empty = base.weight
        weight = weights.read(f"{get_base_name(name)}.weight")
        base.weight = Parameter(weight.to(torch.float32), requires_grad=False)
        layer.lora_variant[_ADAPTER].init(layer, adapter_name=_ADAPTER, config=config)
        base.weight = empty

"""Choose the modules that get an adapter, and reject those whose adapter cannot be merged."""

import copy
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from peft.tuners.lora import LoraLayer

from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.modeling.architecture import is_multimodal

_MAMBA_MODEL_TYPES = {"falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"}
"""Models whose ``out_proj`` and ``conv1d`` PEFT refuses: fused kernels do not call them."""


def find_excluded_modules(model: Any, lora: LoraSettings) -> str | None:
    """Return which modules get no adapter although ``target_modules`` has their name.

    Text does not pass through the towers and projectors of a multimodal model. Adapters on them
    would never learn, and travel every round.

    Args:
        model: A base model.
        lora: The experiment's LoRA settings.

    Returns:
        A regular expression for PEFT's ``exclude_modules``, or None to exclude nothing.
    """
    if is_multimodal(model.config):
        names = "|".join(re.escape(name) for name in _list_other_towers(model))
        return rf"({names})(\..*)?" if names else None
    is_mamba = model.config.model_type in _MAMBA_MODEL_TYPES
    return r".*\.(out_proj|conv1d)" if is_mamba and lora.target_modules == "all-linear" else None


def _list_other_towers(model: Any) -> Iterator[str]:
    """Yield the names of the largest modules without the language model and its output layer."""
    decoder, head = model.get_decoder(), model.get_output_embeddings()

    def list_below(module: Any, prefix: str) -> Iterator[str]:
        for name, child in module.named_children():
            if any(part is decoder for part in child.modules()):
                if child is not decoder:
                    yield from list_below(child, f"{prefix}{name}.")
            elif child is not head:
                yield prefix + name

    return list_below(model, "")


def require_mergeable(model: Any, lora: LoraSettings) -> None:
    """Reject adapters that could not be merged after training.

    One layer per name is merged on trial, in a copy.

    Args:
        model: PEFT model.
        lora: The experiment's LoRA settings.

    Raises:
        UserError: If a layer shares its weights with another one, or PEFT cannot merge it.
    """
    names_of = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names_of[id(parameter)].append(name)
    tried = set()
    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        short, weight = name.rpartition(".")[2], getattr(layer.get_base_layer(), "weight", None)
        shared = [other for other in names_of[id(weight)] if not other.startswith(f"{name}.")]
        if shared:
            other = shared[0].removesuffix(".weight").removesuffix(".base_layer").split(".")[-1]
            raise UserError(
                f"lora.target_modules {lora.target_modules}: {short} has the same weights as "
                f"{other} in this model, so the adapter of one cannot be merged",
                f"leave {short} out",
            )
        is_quantized = weight is not None and not weight.is_floating_point()
        if short not in tried and not is_quantized:
            tried.add(short)
            _merge_on_trial(layer, short, lora)


def _merge_on_trial(layer: Any, name: str, lora: LoraSettings) -> None:
    try:
        copy.deepcopy(layer).merge(safe_merge=True)
    except Exception as error:  # PEFT raises many kinds
        raise UserError(
            f"lora.target_modules {lora.target_modules}: the adapter of {name} could not be merged "
            f"after training: {error}",
            f"leave {name} out",
        ) from error

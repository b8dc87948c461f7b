"""The adapter as named tensors: how it starts, travels, is checked and is kept."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor

from blossomtune.aggregation.types import LORA_A_SUFFIX, LORA_B_SUFFIX, Factors
from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.named_tensors import StateDict
from blossomtune.seeds import derive_seed


class AdapterMismatchError(ValueError):
    """An adapter that does not belong: other names, other shapes, or values that are no numbers."""


def build_lora_config(lora: LoraSettings, rank: int | None = None) -> LoraConfig:
    """PEFT's configuration of an adapter, of a rank of its own where one is given."""
    targets = lora.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=rank or lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        target_modules=targets if isinstance(targets, str) else list(targets),
    )


def build_peft_model(model: Any, lora: LoraSettings, seed: int, rank: int | None = None) -> Any:
    """The model with a fresh adapter, always the same for the same seed.

    Args:
        model: a base model.
        lora: the adapter's block.
        seed: the configuration's seed.
        rank: instead of ``lora.r``.

    Raises:
        UserError: where the model has no module of a name in ``target_modules``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "adapter"))
        try:
            return get_peft_model(model, build_lora_config(lora, rank))
        except ValueError as error:
            names = {n.rsplit(".")[-1] for n, m in model.named_modules() if hasattr(m, "weight")}
            raise UserError(
                f"lora.target_modules {lora.target_modules} does not fit the model: {error}",
                f"this model has {', '.join(sorted(n for n in names if not n.isdigit()))}",
            ) from error


def reinitialize_adapter(state: Mapping[str, Tensor], seed: int, round_number: int) -> StateDict:
    """An adapter of the same shapes that changes nothing yet: B zero, A drawn as PEFT draws it."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "adapter", round_number))

    def fresh(name: str, value: Tensor) -> Tensor:
        if not name.endswith(LORA_A_SUFFIX):
            return torch.zeros_like(value)
        bound = 1 / math.sqrt(value.shape[1])  # Kaiming's, for a = √5
        return torch.empty_like(value).uniform_(-bound, bound, generator=generator)

    return {name: fresh(name, state[name]) for name in sorted(state)}


def get_adapter_parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """The adapter's live parameters in a PEFT model, by the names that ``read`` gives."""
    state = get_peft_model_state_dict(model)
    living = {parameter.data_ptr(): parameter for parameter in model.parameters()}
    return {name: living[value.data_ptr()] for name, value in sorted(state.items())}


def get_adapter_state(model: Any) -> StateDict:
    """A copy of the adapter in a PEFT model."""
    state = get_peft_model_state_dict(model)
    return {
        name: value.detach().to("cpu", torch.float32, copy=True)
        for name, value in sorted(state.items())
    }


def set_adapter_state(model: Any, state: Mapping[str, Tensor]) -> None:
    """Puts an adapter into a PEFT model; the names must be the model's own.

    Raises:
        MismatchError: where a name or a shape is not the model's.
    """
    validate_state(state, get_peft_model_state_dict(model))
    set_peft_model_state_dict(model, dict(state))


def select_factor(state: Mapping[str, Tensor], factor: str) -> StateDict:
    """The tensors of one factor, ``A`` or ``B``; all of them for ``both``."""
    if factor == "both":
        return dict(state)
    return {
        name: value
        for name, value in state.items()
        if name.endswith({"A": LORA_A_SUFFIX, "B": LORA_B_SUFFIX}[factor])
    }


def set_trainable_factor(model: Any, factor: str) -> None:
    """Lets only one factor of the adapter be trained; for ``both``, all of it."""
    living = get_adapter_parameters(model)
    chosen = select_factor(living, factor)
    for name, parameter in living.items():
        parameter.requires_grad_(name in chosen)


def apply_base_delta(model: Any, delta: Mapping[str, Factors]) -> None:
    """Adds updates to the base weights below an adapter, by layer."""
    for layer, (b, a) in delta.items():
        adapted = model.get_submodule(layer)
        weight = adapted.get_base_layer().weight
        update = (b @ a).T if adapted.fan_in_fan_out else b @ a  # GPT-2 turns its weights around
        with torch.no_grad():
            weight += update.to(weight.device, weight.dtype)


def require_linear_layers(
    state: Mapping[str, Tensor], lora: LoraSettings, aggregation: str
) -> None:
    """Refuses layers whose adapters are no products B A where an aggregation needs these.

    Raises:
        UserError: naming the first such layer, e.g. an embedding.
    """
    others = [name for name in state if not name.endswith((LORA_A_SUFFIX, LORA_B_SUFFIX))]
    if others and aggregation != "fedavg":
        raise UserError(
            f"lora.target_modules {lora.target_modules}: aggregation {aggregation} works on the "
            f"adapters of linear layers, and {others[0]} is none",
            "leave embeddings out, or use aggregation fedavg",
        )


def validate_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compares names and shapes with what is expected, and looks for NaN and infinity.

    Raises:
        MismatchError: naming the first tensor that is wrong, and how.
    """
    if missing := sorted(expected.keys() - state.keys()):
        raise AdapterMismatchError(f"{len(missing)} tensors are missing, the first is {missing[0]}")
    if unknown := sorted(state.keys() - expected.keys()):
        raise AdapterMismatchError(f"{len(unknown)} tensors are unknown, the first is {unknown[0]}")
    for name, wanted in expected.items():
        value = state[name]
        if value.shape != wanted.shape:
            raise AdapterMismatchError(
                f"{name} is {tuple(value.shape)} instead of {tuple(wanted.shape)}"
            )
        if not torch.isfinite(value).all():
            raise AdapterMismatchError(f"{name} holds values that are not finite")

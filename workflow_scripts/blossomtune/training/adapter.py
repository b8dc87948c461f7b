"""Create LoRA adapters, and read, write and validate them as named tensors."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from torch.nn import Parameter

from blossomtune.aggregation.types import LORA_A_SUFFIX, LORA_B_SUFFIX
from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.named_tensors import StateDict
from blossomtune.seeds import derive_seed
from blossomtune.training.target_modules import find_excluded_modules


class AdapterMismatchError(ValueError):
    """Adapter tensors with wrong names or shapes, or with values that are not finite."""


def build_lora_config(
    lora: LoraSettings, rank: int | None = None, exclude_modules: str | None = None
) -> LoraConfig:
    """Build PEFT's configuration of an adapter.

    Args:
        lora: The experiment's LoRA settings.
        rank: Rank to use instead of ``lora.r``.
        exclude_modules: Result of ``find_excluded_modules``.

    Returns:
        Configuration of a causal language model's adapter.
    """
    targets = lora.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=rank or lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        target_modules=targets if isinstance(targets, str) else list(targets),
        exclude_modules=exclude_modules,
    )


def build_peft_model(model: Any, lora: LoraSettings, seed: int, rank: int | None = None) -> Any:
    """Add a new adapter to a base model. The same seed gives the same adapter.

    Args:
        model: A base model.
        lora: The experiment's LoRA settings.
        seed: The configuration's seed.
        rank: Rank to use instead of ``lora.r``.

    Returns:
        PEFT model.

    Raises:
        UserError: If the model has no module of a name in ``target_modules``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "adapter"))
        try:
            excluded = find_excluded_modules(model, lora)
            return get_peft_model(model, build_lora_config(lora, rank, excluded))
        except ValueError as error:
            names = {n.rsplit(".")[-1] for n, m in model.named_modules() if hasattr(m, "weight")}
            raise UserError(
                f"lora.target_modules {lora.target_modules} does not fit the model: {error}",
                f"this model has {', '.join(sorted(n for n in names if not n.isdigit()))}",
            ) from error


def reinitialize_adapter(state: Mapping[str, Tensor], seed: int, round_number: int) -> StateDict:
    """Initialize an adapter as PEFT does: A uniform, all other tensors zero.

    Args:
        state: Adapter that gives names and shapes.
        seed: The configuration's seed.
        round_number: Round that starts with this adapter.

    Returns:
        Adapter whose product B A is zero.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "adapter", round_number))

    def initialize(name: str, value: Tensor) -> Tensor:
        if not name.endswith(LORA_A_SUFFIX):
            return torch.zeros_like(value)
        bound = 1 / math.sqrt(value.shape[1])  # Kaiming uniform with a = √5
        return torch.empty_like(value).uniform_(-bound, bound, generator=generator)

    return {name: initialize(name, state[name]) for name in sorted(state)}


def get_excluded_modules(model: Any) -> str | None:
    """Return the ``exclude_modules`` of a PEFT model, for the configuration of its adapter."""
    excluded: str | None = model.peft_config["default"].exclude_modules
    return excluded


def _get_state_dict(model: Any) -> StateDict:
    """Return the adapter's tensors; PEFT would add whole embeddings where one has an adapter."""
    state: StateDict = get_peft_model_state_dict(model, save_embedding_layers=False)
    return state


def get_adapter_parameters(model: Any) -> dict[str, Parameter]:
    """Return a PEFT model's adapter parameters, by the names of ``get_adapter_state``."""
    state = _get_state_dict(model)
    parameters = {parameter.data_ptr(): parameter for parameter in model.parameters()}
    return {name: parameters[value.data_ptr()] for name, value in sorted(state.items())}


def get_trainable_parameters(model: Any) -> dict[str, Parameter]:
    """Return the adapter's parameters that require gradients, by name."""
    return {name: p for name, p in get_adapter_parameters(model).items() if p.requires_grad}


def get_adapter_state(model: Any) -> StateDict:
    """Return a copy of a PEFT model's adapter, in float32 on the CPU."""
    state = _get_state_dict(model)
    return {
        name: value.detach().to("cpu", torch.float32, copy=True)
        for name, value in sorted(state.items())
    }


def set_adapter_state(model: Any, state: Mapping[str, Tensor]) -> None:
    """Load an adapter into a PEFT model.

    Args:
        model: PEFT model.
        state: Tensors with the names and shapes of the model's adapter.

    Raises:
        AdapterMismatchError: If a name or a shape differs, or a value is not finite.
    """
    validate_state(state, _get_state_dict(model))
    set_peft_model_state_dict(model, dict(state))


def select_factor(state: Mapping[str, Tensor], factor: str) -> StateDict:
    """Select the tensors of one LoRA factor.

    Args:
        state: An adapter.
        factor: ``A``, ``B``, or ``both`` for all tensors.

    Returns:
        The selected tensors.
    """
    if factor == "both":
        return dict(state)
    suffix = {"A": LORA_A_SUFFIX, "B": LORA_B_SUFFIX}[factor]
    return {name: value for name, value in state.items() if name.endswith(suffix)}


def set_trainable_factor(model: Any, factor: str) -> None:
    """Freeze the adapter's parameters except those of one LoRA factor.

    Args:
        model: PEFT model.
        factor: ``A``, ``B``, or ``both`` to freeze none.
    """
    parameters = get_adapter_parameters(model)
    trainable = select_factor(parameters, factor)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trainable)


def require_linear_layers(
    state: Mapping[str, Tensor], lora: LoraSettings, aggregation: str
) -> None:
    """Reject adapters of other layers than linear ones if the aggregation needs products B A.

    Convolutions have factors with more dimensions, and the experts of a layer share two factors.

    Args:
        state: An adapter.
        lora: The experiment's LoRA settings.
        aggregation: Name of the aggregation method.

    Raises:
        UserError: If there is such a layer, e.g. an embedding.
    """
    ranks = {LORA_A_SUFFIX: 0, LORA_B_SUFFIX: 1}
    plain = {
        name
        for name, value in state.items()
        for suffix, dimension in ranks.items()
        if name.endswith(suffix) and value.dim() == 2 and value.shape[dimension] == lora.r
    }
    others = [name for name in state if name not in plain]
    if others and aggregation != "fedavg":
        raise UserError(
            f"lora.target_modules {lora.target_modules}: aggregation {aggregation} works on the "
            f"adapters of linear layers, and {others[0]} is none",
            "leave embeddings, convolutions and experts out, or use aggregation fedavg",
        )


def validate_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compare an adapter's names and shapes with the expected ones, and check that it is finite.

    Args:
        state: Adapter to validate.
        expected: Adapter with the expected names and shapes.

    Raises:
        AdapterMismatchError: If a tensor is wrong. The message names the first one.
    """
    if missing := sorted(expected.keys() - state.keys()):
        raise AdapterMismatchError(f"{len(missing)} tensors are missing, the first is {missing[0]}")
    if unknown := sorted(state.keys() - expected.keys()):
        raise AdapterMismatchError(f"{len(unknown)} tensors are unknown, the first is {unknown[0]}")
    for name, reference in expected.items():
        value = state[name]
        if value.shape != reference.shape:
            raise AdapterMismatchError(
                f"{name} is {tuple(value.shape)} instead of {tuple(reference.shape)}"
            )
        if not torch.isfinite(value).all():
            raise AdapterMismatchError(f"{name} holds values that are not finite")

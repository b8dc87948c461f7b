"""The adapter as named tensors: how it starts, travels, is checked and is kept."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor

from blossomtune.config.adapters import Lora
from blossomtune.errors import UserError
from blossomtune.federation.aggregation import A, B, Factors, State
from blossomtune.files import atomic, write_json
from blossomtune.seeds import derive


class MismatchError(ValueError):
    """An adapter that does not belong: other names, other shapes, or values that are no numbers."""


def settings(lora: Lora, rank: int | None = None) -> LoraConfig:
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


def attach(model: Any, lora: Lora, seed: int, rank: int | None = None) -> Any:
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
        torch.manual_seed(derive(seed, "adapter"))
        try:
            return get_peft_model(model, settings(lora, rank))
        except ValueError as error:
            names = {n.rsplit(".")[-1] for n, m in model.named_modules() if hasattr(m, "weight")}
            raise UserError(
                f"lora.target_modules {lora.target_modules} does not fit the model: {error}",
                f"this model has {', '.join(sorted(n for n in names if not n.isdigit()))}",
            ) from error


def restarted(state: Mapping[str, Tensor], seed: int, round_: int) -> State:
    """An adapter of the same shapes that changes nothing yet: B zero, A drawn as PEFT draws it."""
    generator = torch.Generator().manual_seed(derive(seed, "adapter", round_))

    def fresh(name: str, value: Tensor) -> Tensor:
        if not name.endswith(A):
            return torch.zeros_like(value)
        bound = 1 / math.sqrt(value.shape[1])  # Kaiming's, for a = √5
        return torch.empty_like(value).uniform_(-bound, bound, generator=generator)

    return {name: fresh(name, state[name]) for name in sorted(state)}


def parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """The adapter's live parameters in a PEFT model, by the names that ``read`` gives."""
    state = get_peft_model_state_dict(model)
    living = {parameter.data_ptr(): parameter for parameter in model.parameters()}
    return {name: living[value.data_ptr()] for name, value in sorted(state.items())}


def read(model: Any) -> State:
    """A copy of the adapter in a PEFT model."""
    state = get_peft_model_state_dict(model)
    return {
        name: value.detach().to("cpu", torch.float32, copy=True)
        for name, value in sorted(state.items())
    }


def write(model: Any, state: Mapping[str, Tensor]) -> None:
    """Puts an adapter into a PEFT model; the names must be the model's own.

    Raises:
        MismatchError: where a name or a shape is not the model's.
    """
    check(state, get_peft_model_state_dict(model))
    set_peft_model_state_dict(model, dict(state))


def part(state: Mapping[str, Tensor], factor: str) -> State:
    """The tensors of one factor, ``A`` or ``B``; all of them for ``both``."""
    if factor == "both":
        return dict(state)
    return {name: value for name, value in state.items() if name.endswith({"A": A, "B": B}[factor])}


def train_only(model: Any, factor: str) -> None:
    """Lets only one factor of the adapter be trained; for ``both``, all of it."""
    living = parameters(model)
    chosen = part(living, factor)
    for name, parameter in living.items():
        parameter.requires_grad_(name in chosen)


def fold(model: Any, factors: Mapping[str, Factors]) -> None:
    """Adds updates to the base weights below an adapter, by layer."""
    for layer, (b, a) in factors.items():
        adapted = model.get_submodule(layer)
        weight = adapted.get_base_layer().weight
        update = (b @ a).T if adapted.fan_in_fan_out else b @ a  # GPT-2 turns its weights around
        with torch.no_grad():
            weight += update.to(weight.device, weight.dtype)


def products_only(state: Mapping[str, Tensor], lora: Lora, aggregation: str) -> None:
    """Refuses layers whose adapters are no products B A where an aggregation needs these.

    Raises:
        UserError: naming the first such layer, e.g. an embedding.
    """
    others = [name for name in state if not name.endswith((A, B))]
    if others and aggregation != "fedavg":
        raise UserError(
            f"lora.target_modules {lora.target_modules}: aggregation {aggregation} works on the "
            f"adapters of linear layers, and {others[0]} is none",
            "leave embeddings out, or use aggregation fedavg",
        )


def check(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compares names and shapes with what is expected, and looks for NaN and infinity.

    Raises:
        MismatchError: naming the first tensor that is wrong, and how.
    """
    if missing := sorted(expected.keys() - state.keys()):
        raise MismatchError(f"{len(missing)} tensors are missing, the first is {missing[0]}")
    if unknown := sorted(state.keys() - expected.keys()):
        raise MismatchError(f"{len(unknown)} tensors are unknown, the first is {unknown[0]}")
    for name, wanted in expected.items():
        value = state[name]
        if value.shape != wanted.shape:
            raise MismatchError(f"{name} is {tuple(value.shape)} instead of {tuple(wanted.shape)}")
        if not torch.isfinite(value).all():
            raise MismatchError(f"{name} holds values that are not finite")


def save(
    state: Mapping[str, Tensor],
    lora: Lora,
    base_name: str,
    directory: Path,
    rank: int | None = None,
) -> None:
    """Writes an adapter in PEFT's layout, atomically, with the same bytes for the same values."""
    _save(state, settings(lora, rank), base_name, directory)


def save_products(
    factors: Mapping[str, Factors], lora: Lora, base_name: str, directory: Path
) -> None:
    """Writes updates B A, of any rank by layer, as an adapter of scale 1 in PEFT's layout."""
    ranks = {layer: a.shape[0] for layer, (_, a) in factors.items()}
    config = settings(lora, max(ranks.values()))
    config.use_rslora, config.lora_alpha = False, config.r
    others = {layer: rank for layer, rank in ranks.items() if rank != config.r}
    plain = {layer.removeprefix("base_model.model."): rank for layer, rank in others.items()}
    config.rank_pattern, config.alpha_pattern = plain, dict(plain)
    tensors = {layer + A: a for layer, (_, a) in factors.items()}
    tensors |= {layer + B: b for layer, (b, _) in factors.items()}
    _save(tensors, config, base_name, directory)


def _save(
    state: Mapping[str, Tensor], settings: LoraConfig, base_name: str, directory: Path
) -> None:
    config = settings.to_dict()
    config |= {"base_model_name_or_path": base_name, "inference_mode": True}
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    with atomic(directory, directory=True) as partial:
        tensors = {name: state[name].contiguous() for name in sorted(state)}
        file = partial / "adapter_model.safetensors"
        safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})
        write_json(partial / "adapter_config.json", plain)

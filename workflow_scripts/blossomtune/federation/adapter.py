"""The adapter as named tensors: how it starts, travels, is checked and is kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor

from blossomtune.config.experiments import Lora
from blossomtune.errors import UserError
from blossomtune.files import atomic, write_json
from blossomtune.seeds import derive

State = dict[str, Tensor]
"""Parameter names as PEFT spells them, to float32 tensors on the CPU."""


class MismatchError(ValueError):
    """An adapter that does not belong: other names, other shapes, or values that are no numbers."""


def settings(lora: Lora) -> LoraConfig:
    """PEFT's configuration of an adapter."""
    targets = lora.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        target_modules=targets if isinstance(targets, str) else list(targets),
    )


def attach(model: Any, lora: Lora, seed: int) -> Any:
    """The model with a fresh adapter, always the same for the same seed.

    Args:
        model: a base model.
        lora: the adapter's block.
        seed: the configuration's seed.

    Raises:
        UserError: where the model has no module of a name in ``target_modules``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "adapter"))
        try:
            return get_peft_model(model, settings(lora))
        except ValueError as error:
            names = {n.rsplit(".")[-1] for n, m in model.named_modules() if hasattr(m, "weight")}
            raise UserError(
                f"lora.target_modules {lora.target_modules} does not fit the model: {error}",
                f"this model has {', '.join(sorted(n for n in names if not n.isdigit()))}",
            ) from error


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


def save(state: Mapping[str, Tensor], lora: Lora, base_name: str, directory: Path) -> None:
    """Writes an adapter in PEFT's layout, atomically, with the same bytes for the same values."""
    config = settings(lora).to_dict()
    config |= {"base_model_name_or_path": base_name, "inference_mode": True}
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    with atomic(directory, directory=True) as partial:
        tensors = {name: state[name].contiguous() for name in sorted(state)}
        file = partial / "adapter_model.safetensors"
        safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})
        write_json(partial / "adapter_config.json", plain)

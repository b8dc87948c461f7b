"""Write adapters as PEFT directories."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from peft import LoraConfig
from torch import Tensor

from blossomtune.aggregation.types import LORA_A_SUFFIX, LORA_B_SUFFIX, Factors
from blossomtune.config.lora import LoraSettings
from blossomtune.files import write_atomically, write_json
from blossomtune.training.adapter import build_lora_config


def save_adapter(
    state: Mapping[str, Tensor],
    lora: LoraSettings,
    base_model_name: str,
    directory: Path,
    rank: int | None = None,
    exclude_modules: str | None = None,
) -> None:
    """Write an adapter atomically. The same values give the same bytes.

    Args:
        state: The adapter.
        lora: The experiment's LoRA settings.
        base_model_name: Name of the base model for ``adapter_config.json``.
        directory: PEFT directory to write.
        rank: The adapter's rank if it is not ``lora.r``.
        exclude_modules: PEFT's key of this name.
    """
    config = build_lora_config(lora, rank, exclude_modules)
    _write_peft_directory(state, config, base_model_name, directory)


def save_adapter_from_factors(
    factors: Mapping[str, Factors],
    lora: LoraSettings,
    base_model_name: str,
    directory: Path,
    exclude_modules: str | None = None,
) -> None:
    """Write updates B A, whose ranks may differ per layer, as an adapter with LoRA scaling 1.

    Args:
        factors: B (d, r) and A (r, k) by layer.
        lora: The experiment's LoRA settings.
        base_model_name: Name of the base model for ``adapter_config.json``.
        directory: PEFT directory to write.
        exclude_modules: PEFT's key of this name.
    """
    ranks = {layer: a.shape[0] for layer, (_, a) in factors.items()}
    config = build_lora_config(lora, max(ranks.values()), exclude_modules)
    config.use_rslora, config.lora_alpha = False, config.r
    pattern = {
        layer.removeprefix("base_model.model."): rank
        for layer, rank in ranks.items()
        if rank != config.r
    }
    config.rank_pattern, config.alpha_pattern = pattern, dict(pattern)
    tensors = {layer + LORA_A_SUFFIX: a for layer, (_, a) in factors.items()}
    tensors |= {layer + LORA_B_SUFFIX: b for layer, (b, _) in factors.items()}
    _write_peft_directory(tensors, config, base_model_name, directory)


def _write_peft_directory(
    state: Mapping[str, Tensor], lora_config: LoraConfig, base_model_name: str, directory: Path
) -> None:
    config = lora_config.to_dict()
    config |= {"base_model_name_or_path": base_model_name, "inference_mode": True}
    config = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    with write_atomically(directory, directory=True) as partial:
        tensors = {name: state[name].contiguous() for name in sorted(state)}
        file = partial / "adapter_model.safetensors"
        safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})
        write_json(partial / "adapter_config.json", config)

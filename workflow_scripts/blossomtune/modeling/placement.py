"""Place the weights of a model on one device, or spread them over several GPUs."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from blossomtune.errors import UserError
from blossomtune.modeling.devices import count_devices, get_total_memory
from blossomtune.modeling.safetensors_header import read_header

MAX_WEIGHT_SHARE = 0.9
"""Share of a GPU's memory that weights may take; activations need the rest."""

_BYTES_PER_QUANTIZED_PARAMETER = {"8bit": 1.0, "4bit": 0.5}


def compute_weight_bytes(directory: Path, dtype: torch.dtype, quantization: str = "none") -> int:
    """Return the least memory that the weights of a model directory need when they are loaded.

    Args:
        directory: Model directory in Hugging Face's layout.
        dtype: Type of weights that are not quantized.
        quantization: As in ``load_model``. Scales, and what is not quantized, need more.

    Returns:
        Bytes.
    """
    headers = [read_header(file) for file in directory.glob("*.safetensors")]
    parameters: int = sum(
        math.prod(t["shape"]) for header in headers for t in header.tensors.values()
    )
    return math.ceil(parameters * _BYTES_PER_QUANTIZED_PARAMETER.get(quantization, dtype.itemsize))


def build_device_map(weight_bytes: int, device: torch.device, num_devices: int) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that place a model.

    Layers are spread evenly over several GPUs, so that each has the same room for activations.

    Args:
        weight_bytes: Result of ``compute_weight_bytes``.
        device: Device of the model; with several devices, their type.
        num_devices: Number of GPUs, the first ones that this process sees; all if there are fewer.

    Returns:
        Arguments ``device_map`` and, for several GPUs, ``max_memory``.

    Raises:
        UserError: If the GPUs have too little memory for the weights alone.
    """
    if device.type not in ("cuda", "xpu"):
        return {"device_map": {"": device.type}}
    num_devices = min(num_devices, count_devices())
    memory = [get_total_memory(torch.device(device.type, i)) for i in range(num_devices)]
    allowed = [int(MAX_WEIGHT_SHARE * total) for total in memory]
    if weight_bytes > sum(allowed):
        raise UserError(
            f"the weights need {weight_bytes / 1e9:.1f} GB, and {num_devices} GPU(s) with "
            f"{sum(memory) / 1e9:.1f} GB take {sum(allowed) / 1e9:.1f} GB besides activations",
            "training.base_dtype: bfloat16 and training.quantization need less, and "
            "federation.gpus_per_client spreads a base over several GPUs",
        )
    if num_devices == 1:
        return {"device_map": {"": device.type}}
    return {"device_map": "balanced", "max_memory": dict(enumerate(allowed))}


def require_on_gpus(device_map: Mapping[str, Any]) -> None:
    """Reject a model of which some layers did not fit on the GPUs, since they would not be trained.

    Args:
        device_map: Device of each part of a model that was spread.

    Raises:
        UserError: If a part is on the CPU or on disk.
    """
    if outside := [name for name, device in device_map.items() if device in ("cpu", "disk")]:
        raise UserError(
            f"{len(outside)} layers do not fit on the GPUs, the first is {outside[0]}",
            "federation.gpus_per_client: more GPUs, or training.quantization",
        )

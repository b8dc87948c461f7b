"""Select the device that a model runs on, and read the memory of accelerators.

ROCm has CUDA's name and functions in PyTorch.
"""

from typing import Any

import torch

from blossomtune.errors import UserError

ACCELERATORS = ("cuda", "xpu", "mps")
"""Types of accelerators, in the order of preference of ``auto``."""

_WITH_MEMORY_STATISTICS = ("cuda", "xpu")


def list_device_types() -> list[str]:
    """Return the types of devices that PyTorch can use here, the preferred one first."""
    return [*(name for name in ACCELERATORS if _get_module(name).is_available()), "cpu"]


def select_device(setting: str = "auto", key: str = "evaluation.device") -> torch.device:
    """Return the device of a setting.

    Args:
        setting: ``auto`` for an accelerator if there is one, or the type of a device.
        key: Key of the setting, for the message.

    Returns:
        The device.

    Raises:
        UserError: If PyTorch finds no device of the type.
    """
    types = list_device_types()
    if setting != "auto" and setting not in types:
        raise UserError(
            f"{key}: there is no {setting} here; PyTorch {torch.__version__} finds "
            f"{', '.join(types)}",
            f"use {key}: auto, or a PyTorch that is built for {setting}",
        )
    return torch.device(types[0] if setting == "auto" else setting)


def require_dtype(dtype: torch.dtype, device: torch.device) -> None:
    """Reject a data type that a device cannot compute with, as MPS cannot bfloat16 before macOS 14.

    Args:
        dtype: Type of a model's weights.
        device: The device.

    Raises:
        UserError: If PyTorch refuses to multiply two matrices of the type.
    """
    try:
        ones = torch.ones(2, 2, dtype=dtype, device=device)
        ones @ ones
    except (RuntimeError, TypeError) as error:
        name = str(dtype).removeprefix("torch.")
        raise UserError(
            f"{name} does not work on {device}: {error}",
            "use float32, or float16, for training.base_dtype and evaluation.dtype",
        ) from error


def count_devices() -> int:
    """Return the number of accelerators of the preferred type, 0 without one."""
    device = select_device()
    return 0 if device.type == "cpu" else int(_get_module(device.type).device_count())


def get_memory(device: torch.device) -> tuple[int, int]:
    """Return the free and the total memory of an accelerator of type cuda or xpu, in bytes."""
    free, total = _get_module(device.type).mem_get_info(device)
    return int(free), int(total)


def get_total_memory(device: torch.device) -> int:
    """Return the memory of an accelerator of type cuda or xpu in bytes, without allocating any."""
    return int(_get_module(device.type).get_device_properties(device).total_memory)


def limit_memory(device: torch.device, share: float) -> None:
    """Limit the memory that this process may allocate on an accelerator.

    Args:
        device: The device; nothing is limited on a CPU.
        share: Share of its memory, in (0, 1].
    """
    if device.type != "cpu":
        _get_module(device.type).set_per_process_memory_fraction(share)


def reset_peak_memory(device: torch.device) -> None:
    """Start to measure the peak of the memory that this process reserves on its accelerators."""
    if device.type in _WITH_MEMORY_STATISTICS:
        for index in range(count_devices()):
            _get_module(device.type).reset_peak_memory_stats(index)


def get_peak_memory(device: torch.device) -> int:
    """Return the peak in bytes of memory that this process reserved, summed over accelerators.

    It is 0 for a CPU, and for MPS, which does not measure it.
    """
    if device.type not in _WITH_MEMORY_STATISTICS:
        return 0
    module = _get_module(device.type)
    return sum(int(module.max_memory_reserved(index)) for index in range(count_devices()))


def get_reserved_memory(device: torch.device) -> int:
    """Return the bytes that this process reserves on an accelerator now, 0 where not measured."""
    if device.type not in _WITH_MEMORY_STATISTICS:
        return 0
    return int(_get_module(device.type).memory_reserved())


def synchronize(device: torch.device) -> None:
    """Wait until all work on a device is done; a CPU works at once."""
    _get_module(device.type).synchronize()


def empty_cache() -> None:
    """Release memory of an accelerator that PyTorch reserves and no tensor uses."""
    device = select_device()
    if device.type != "cpu":
        _get_module(device.type).empty_cache()


def _get_module(device_type: str) -> Any:
    """Return PyTorch's module of a type of devices, such as ``torch.cuda``."""
    return torch.get_device_module(device_type)

"""Describe the device, and measure the speed of its matrix products."""

import time

import torch

from blossomtune.modeling import devices

WARM_UP, REPEATS = 3, 20


def describe_device(device: torch.device) -> dict[str, str | int | None]:
    """Return the name, the memory in MB of 10^6 bytes, and the compute platform of a device."""
    if device.type == "cpu":
        return {"type": "cpu", "name": "cpu", "memory_mb": None, "platform": None}
    module = torch.get_device_module(device.type)
    _, total = devices.get_memory(device)
    platforms = {"cuda": torch.version.cuda or torch.version.hip, "xpu": torch.version.xpu}
    return {
        "type": device.type,
        "name": module.get_device_name(device),
        "memory_mb": total // 10**6,
        "platform": platforms.get(device.type),
    }


def measure_peak(device: torch.device, size: int) -> float:
    """Return the FLOP/s of a large bfloat16 matrix product.

    Args:
        device: The device to measure.
        size: Width and height of the matrices.

    Returns:
        The best of several repetitions, in FLOP/s.
    """
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(WARM_UP + REPEATS):
        devices.synchronize(device)
        start = time.perf_counter()
        a @ b
        devices.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[WARM_UP:])

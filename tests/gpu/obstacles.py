"""Reasons for which a check cannot run on a machine."""

import shutil
from pathlib import Path

import psutil

QUANTIZING_DEVICES = ("cpu", "cuda", "xpu")
"""Devices for which bitsandbytes has kernels."""

LARGE_DISK_BYTES, LARGE_MEMORY_BYTES = 12 * 10**9, 8 * 10**9
"""The model with 1 B weights: four copies on disk, and one in memory with what else runs."""


def find_obstacle(name: str, folder: Path, device: str) -> str | None:
    """Return why a check cannot run, None if it can.

    Args:
        name: Name of the check.
        folder: Folder of the results.
        device: Type of the device.

    Returns:
        A sentence, or None.
    """
    if name in ("8bit", "4bit") and device not in QUANTIZING_DEVICES:
        return f"bitsandbytes has no kernels for {device}"
    if name == "two-clients" and device not in ("cpu", "cuda"):
        return f"federation.gpus_per_client assigns CUDA devices, and this is {device}"
    if name != "random-1b" or (folder / "models/tiny").is_dir():
        return None
    if (free := shutil.disk_usage(folder).free) < LARGE_DISK_BYTES:
        return f"{free / 1e9:.0f} GB of disk are free, and it needs {LARGE_DISK_BYTES / 1e9:.0f}"
    if (free := psutil.virtual_memory().available) < LARGE_MEMORY_BYTES:
        return f"{free / 1e9:.0f} GB of RAM are free, and it needs {LARGE_MEMORY_BYTES / 1e9:.0f}"
    return None

"""Read the memory of this machine and of this process."""

import shutil
from functools import cache
from pathlib import Path

import psutil
import torch

from blossomtune.artifacts.plan import Machine
from blossomtune.modeling import devices


def read_machine(folder: Path) -> Machine:
    """Return the machine's free main memory and disk space, and the memory of its GPUs.

    Args:
        folder: Existing folder of the results.

    Returns:
        The memory.
    """
    device = devices.select_device().type
    gpus = []
    if device in ("cuda", "xpu"):  # MPS shares the main memory
        for index in range(devices.count_devices()):
            gpus.append(devices.get_memory(torch.device(device, index))[1])
    available = int(psutil.virtual_memory().available)
    return Machine(ram=available, gpus=gpus, disk=shutil.disk_usage(folder).free)


@cache
def get_process_memory() -> int:
    """Return the bytes of main memory that this process occupied at the first call."""
    return int(psutil.Process().memory_info().rss)


def get_peak_process_memory() -> int:
    """Return the largest number of bytes that this process has occupied (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def compute_folder_size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

"""List the GPUs that this process may use, and sample their load and memory."""

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Self

from blossomtune.artifacts.round_record import GpuUsage

logger = logging.getLogger(__name__)

VISIBLE_DEVICES, DEVICE_ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
"""CUDA's environment variables: the GPUs that a process sees, and their order. ROCm reads both."""

_VISIBLE_DEVICES_BY_TYPE = {"cuda": VISIBLE_DEVICES, "xpu": "ZE_AFFINITY_MASK"}

SAMPLE_INTERVAL_SECONDS = 1.0

GpuSample = tuple[int, int, int]
"""A GPU's utilization in %, used memory in bytes and total memory in bytes."""


def parse_visible_devices(value: str | None, count: int) -> list[str]:
    """Return the GPUs of a process, as CUDA_VISIBLE_DEVICES names them.

    Args:
        value: The variable's value, indices or UUIDs; None if it is not set.
        count: Number of GPUs that CUDA finds; it stops at the first name that it does not know.

    Returns:
        Indices or UUIDs, as text.
    """
    names = [str(i) for i in range(count)] if value is None else value.split(",")
    return [name.strip() for name in names[:count]]


def list_visible_gpus() -> list[str]:
    """Return this process's GPUs by their names in CUDA_VISIBLE_DEVICES (XPU: ZE_AFFINITY_MASK)."""
    from blossomtune.modeling.devices import count_devices, select_device

    variable = _VISIBLE_DEVICES_BY_TYPE.get(select_device().type, "")
    return parse_visible_devices(os.environ.get(variable), count_devices())


def build_gpu_environment(gpus: str) -> dict[str, str]:
    """Return environment variables that make GPUs visible to a process on this machine.

    Args:
        gpus: Names from ``list_visible_gpus``, joined by commas.

    Returns:
        The variables.
    """
    from blossomtune.modeling.devices import select_device

    variable = _VISIBLE_DEVICES_BY_TYPE.get(select_device().type, VISIBLE_DEVICES)
    order = {DEVICE_ORDER: os.environ[DEVICE_ORDER]} if DEVICE_ORDER in os.environ else {}
    return {variable: gpus} | order


class GpuSampler:
    """A context manager that samples GPUs once per second by NVML.

    NVML numbers GPUs by their PCI bus. CUDA does so if all GPUs are of one model or
    CUDA_DEVICE_ORDER is PCI_BUS_ID. UUIDs are the same for both.

    Args:
        gpus: GPUs as ``list_visible_gpus`` names them.
    """

    def __init__(self, gpus: list[str]) -> None:
        self._gpus = gpus
        self._stop_event = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_stopped, daemon=True)
        self._samples: defaultdict[str, list[GpuSample]] = defaultdict(list)
        self._names: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._gpus:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        if self._gpus:
            self._thread.join()

    def collect_usage(self) -> list[GpuUsage]:
        """Return the usage per GPU since the last call, without GPUs that NVML cannot read."""
        samples_by_gpu, self._samples = self._samples, defaultdict(list)
        return [summarize_samples(self._names[gpu], s) for gpu, s in samples_by_gpu.items()]

    def _sample_until_stopped(self) -> None:
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            logger.warning("GPUs are not watched: %s", error)
            return
        try:
            handles = {gpu: handle for gpu in self._gpus for handle in _find_nvml_handles(gpu)}
            self._names = {gpu: pynvml.nvmlDeviceGetName(h) for gpu, h in handles.items()}
            while True:
                for gpu, handle in handles.items():
                    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
                    busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
                    self._samples[gpu].append((busy, memory.used, memory.total))
                if self._stop_event.wait(SAMPLE_INTERVAL_SECONDS):
                    return
        except pynvml.NVMLError as error:  # MIG partitions have no utilization
            logger.warning("GPUs are not watched any more: %s", error)
        finally:
            pynvml.nvmlShutdown()


def summarize_samples(name: str, samples: Sequence[GpuSample]) -> GpuUsage:
    """Return the mean utilization and the peak memory of a GPU.

    Args:
        name: Model of the GPU.
        samples: At least one sample.

    Returns:
        Utilization in % and memory in MB (10^6 bytes), of all processes on the GPU.
    """
    busy, used, total = zip(*samples, strict=True)
    return GpuUsage(
        name=name,
        utilization=round(sum(busy) / len(busy)),
        memory_mb=max(used) // 10**6,
        memory_total_mb=total[0] // 10**6,
    )


def get_free_memory(gpu: str) -> int:
    """Return the free memory of a GPU in bytes; raise NVML's error if it cannot be read."""
    import pynvml

    pynvml.nvmlInit()
    try:
        [handle] = _find_nvml_handles(gpu)
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).free)
    finally:
        pynvml.nvmlShutdown()


def _find_nvml_handles(gpu: str) -> Iterator[Any]:
    """Yield NVML's handle of a GPU; a UUID may be abbreviated, as for CUDA."""
    import pynvml

    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        if gpu == str(index) or pynvml.nvmlDeviceGetUUID(handle).startswith(gpu):
            yield handle

"""GPUs of this machine: which ones this process may use, and how busy they are."""

import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Self

VISIBLE_DEVICES, DEVICE_ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
"""Variables of CUDA: the GPUs that a process sees, and which of them is the first."""

SAMPLE_INTERVAL_SECONDS = 1.0

GpuSample = tuple[int, int, int]
"""How busy a GPU is in %, and its memory in bytes: what is taken, and what there is."""


def parse_visible_devices(value: str | None, count: int) -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls the GPUs of a process.

    Args:
        given: the variable's value, indices or UUIDs; None where it is not set.
        count: how many GPUs CUDA finds. It stops at the first word that it does not know.
    """
    named = [str(i) for i in range(count)] if value is None else value.split(",")
    return [word.strip() for word in named[:count]]


def list_visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES calls them; none without CUDA."""
    import torch

    return parse_visible_devices(os.environ.get(VISIBLE_DEVICES), torch.cuda.device_count())


def build_gpu_environment(gpu: str) -> dict[str, str]:
    """Variables that leave a process on this machine a single one of them."""
    order = {DEVICE_ORDER: os.environ[DEVICE_ORDER]} if DEVICE_ORDER in os.environ else {}
    return {VISIBLE_DEVICES: gpu} | order


class GpuSampler:
    """Looks at GPUs once a second, by NVML, for as long as it is entered.

    NVML counts GPUs in the order of the bus. CUDA does so where they are all of a kind, or where
    CUDA_DEVICE_ORDER says PCI_BUS_ID; UUIDs mean the same to both.

    Args:
        gpus: which ones, as ``visible`` calls them.
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

    def collect_usage(self) -> list[dict[str, Any]]:
        """What was seen since the last time, a mapping a GPU; none of those that NVML cannot ask.

        ``utilisation`` is the mean share of time, in %, that kernels ran; ``memory_mb`` is the most
        that was taken, whoever took it, and ``memory_total_mb`` what there is, in MB of 10^6 bytes.
        """
        seen, self._samples = self._samples, defaultdict(list)
        return [summarize_samples(self._names[gpu], samples) for gpu, samples in seen.items()]

    def _sample_until_stopped(self) -> None:
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            print(f"GPUs are not watched: {error}", flush=True)
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
        except pynvml.NVMLError as error:  # a part of a GPU (MIG) has no utilisation
            print(f"GPUs are not watched any more: {error}", flush=True)
        finally:
            pynvml.nvmlShutdown()


def summarize_samples(name: str, samples: Sequence[GpuSample]) -> dict[str, Any]:
    """A GPU over some time, as history.json has it."""
    busy, used, total = zip(*samples, strict=True)
    return {
        "name": name,
        "utilization": round(sum(busy) / len(busy)),
        "memory_mb": max(used) // 10**6,
        "memory_total_mb": total[0] // 10**6,
    }


def get_free_memory(gpu: str) -> int:
    """Bytes of a GPU that nobody has taken; raises NVML's error where it cannot be asked."""
    import pynvml

    pynvml.nvmlInit()
    try:
        [handle] = _find_nvml_handles(gpu)
        return pynvml.nvmlDeviceGetMemoryInfo(handle).free
    finally:
        pynvml.nvmlShutdown()


def _find_nvml_handles(gpu: str) -> Iterator[Any]:
    """NVML's handle of a GPU; UUIDs may be cut short, as CUDA takes them."""
    import pynvml

    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        if gpu == str(index) or pynvml.nvmlDeviceGetUUID(handle).startswith(gpu):
            yield handle

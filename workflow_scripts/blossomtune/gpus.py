"""GPUs of this machine: which ones this process may use, and how busy they are."""

import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Self

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
"""Variables of CUDA: the GPUs that a process sees, and which of them is the first."""

SAMPLE_SECONDS = 1.0

Sample = tuple[int, int, int]
"""How busy a GPU is in %, and its memory in bytes: what is taken, and what there is."""


def words(given: str | None, count: int) -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls the GPUs of a process.

    Args:
        given: the variable's value, indices or UUIDs; None where it is not set.
        count: how many GPUs CUDA finds. It stops at the first word that it does not know.
    """
    named = [str(i) for i in range(count)] if given is None else given.split(",")
    return [word.strip() for word in named[:count]]


def visible() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES calls them; none without CUDA."""
    import torch

    return words(os.environ.get(VISIBLE), torch.cuda.device_count())


def only(word: str) -> dict[str, str]:
    """Variables that leave a process on this machine a single one of them."""
    order = {ORDER: os.environ[ORDER]} if ORDER in os.environ else {}
    return {VISIBLE: word} | order


class Sampler:
    """Looks at GPUs once a second, by NVML, for as long as it is entered.

    NVML counts GPUs in the order of the bus. CUDA does so where they are all of a kind, or where
    CUDA_DEVICE_ORDER says PCI_BUS_ID; UUIDs mean the same to both.

    Args:
        gpus: which ones, as ``visible`` calls them.
    """

    def __init__(self, gpus: list[str]) -> None:
        self._gpus = gpus
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._seen: defaultdict[str, list[Sample]] = defaultdict(list)
        self._names: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._gpus:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._gpus:
            self._thread.join()

    def take(self) -> list[dict[str, Any]]:
        """What was seen since the last time, a mapping a GPU; none of those that NVML cannot ask.

        ``utilisation`` is the mean share of time, in %, that kernels ran; ``memory_mb`` is the most
        that was taken, whoever took it, and ``memory_total_mb`` what there is, in MB of 10^6 bytes.
        """
        seen, self._seen = self._seen, defaultdict(list)
        return [figures(self._names[gpu], samples) for gpu, samples in seen.items()]

    def _watch(self) -> None:
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            print(f"GPUs are not watched: {error}", flush=True)
            return
        try:
            handles = {gpu: handle for gpu in self._gpus for handle in _handles(gpu)}
            self._names = {gpu: pynvml.nvmlDeviceGetName(h) for gpu, h in handles.items()}
            while True:
                for gpu, handle in handles.items():
                    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
                    busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
                    self._seen[gpu].append((busy, memory.used, memory.total))
                if self._end.wait(SAMPLE_SECONDS):
                    return
        except pynvml.NVMLError as error:  # a part of a GPU (MIG) has no utilisation
            print(f"GPUs are not watched any more: {error}", flush=True)
        finally:
            pynvml.nvmlShutdown()


def figures(name: str, samples: Sequence[Sample]) -> dict[str, Any]:
    """A GPU over some time, as history.json has it."""
    busy, used, total = zip(*samples, strict=True)
    return {
        "name": name,
        "utilisation": round(sum(busy) / len(busy)),
        "memory_mb": max(used) // 10**6,
        "memory_total_mb": total[0] // 10**6,
    }


def free(gpu: str) -> int:
    """Bytes of a GPU that nobody has taken; raises NVML's error where it cannot be asked."""
    import pynvml

    pynvml.nvmlInit()
    try:
        [handle] = _handles(gpu)
        return pynvml.nvmlDeviceGetMemoryInfo(handle).free
    finally:
        pynvml.nvmlShutdown()


def _handles(gpu: str) -> Iterator[Any]:
    """NVML's handle of a GPU; UUIDs may be cut short, as CUDA takes them."""
    import pynvml

    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        if gpu == str(index) or pynvml.nvmlDeviceGetUUID(handle).startswith(gpu):
            yield handle

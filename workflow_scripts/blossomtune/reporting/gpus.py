"""Describe the use of GPUs."""

from collections.abc import Sequence

from blossomtune.artifacts.round_record import GpuUsage
from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults


def describe_gpus(e: ExperimentResults) -> list[str]:
    """Return sentences on utilization and memory; none without GPUs."""
    rounds = [record.gpus for record in e.history.rounds if record.gpus]
    sentences = []
    if rounds:
        usages = [gpu for gpus in rounds for gpu in gpus]
        number = formatting.format_amount(max(map(len, rounds)), "GPU")
        names = formatting.join_list(sorted({gpu.name for gpu in usages}))
        fullest = max(usages, key=lambda gpu: gpu.memory_mb / gpu.memory_total_mb)
        used, total = (
            _format_gigabytes(fullest.memory_mb),
            _format_gigabytes(fullest.memory_total_mb),
        )
        sentences.append(
            f"{formatting.capitalize_first(number)} ({names}): busy for "
            f"{format_utilization(usages)} of the rounds’ time, "
            f"the fullest with {used} of {total} taken."
        )
    memory = [c.gpu_memory_mb for r in e.history.rounds for c in r.clients if c.gpu_memory_mb]
    if memory:
        sentences.append(f"A client held up to {_format_gigabytes(max(memory))} of a GPU.")
    return sentences


def format_utilization(gpus: Sequence[GpuUsage]) -> str:
    """Return the mean share of time with a running kernel, in percent."""
    return formatting.format_percent(sum(gpu.utilization for gpu in gpus) / len(gpus) / 100)


def _format_gigabytes(megabytes: int) -> str:
    return f"{megabytes / 1000:.1f}{formatting.NARROW_SPACE}GB"

"""What the report says of GPUs, where clients trained on some."""

from collections.abc import Sequence

from blossomtune.artifacts.round_record import GpuUsage
from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults


def describe_gpus(e: ExperimentResults) -> list[str]:
    """Sentences on how busy GPUs were and on what clients took of them; none without any."""
    rounds = [record.gpus for record in e.history.rounds if record.gpus]
    sentences = []
    if rounds:
        names = formatting.join_list(sorted({gpu.name for gpus in rounds for gpu in gpus}))
        every = [gpu for gpus in rounds for gpu in gpus]
        fullest = max(every, key=lambda gpu: gpu.memory_mb / gpu.memory_total_mb)
        taken, there = (_format_gigabytes(n) for n in (fullest.memory_mb, fullest.memory_total_mb))
        sentences.append(
            f"{formatting.capitalize_first(formatting.format_amount(max(map(len, rounds)), 'GPU'))} ({names}): busy for "
            f"{format_utilization(every)} of the rounds\u2019 time, the fullest with {taken} of {there} taken."
        )
    held = [c.gpu_memory_mb for r in e.history.rounds for c in r.clients if c.gpu_memory_mb]
    if held:
        sentences.append(f"A client held up to {_format_gigabytes(max(held))} of a GPU.")
    return sentences


def format_utilization(gpus: Sequence[GpuUsage]) -> str:
    """The mean share of time that GPUs were busy."""
    return formatting.format_percent(sum(gpu.utilization for gpu in gpus) / len(gpus) / 100)


def _format_gigabytes(megabytes: int) -> str:
    return f"{megabytes / 1000:.1f}{formatting.NARROW_SPACE}GB"

"""What the report says of GPUs, where clients trained on some."""

from collections.abc import Sequence

from blossomtune.reporting import words
from blossomtune.reporting.history import Gpu
from blossomtune.reporting.inputs import Experiment


def said(e: Experiment) -> list[str]:
    """Sentences on how busy GPUs were and on what clients took of them; none without any."""
    rounds = [record.gpus for record in e.history.rounds if record.gpus]
    sentences = []
    if rounds:
        names = words.listed(sorted({gpu.name for gpus in rounds for gpu in gpus}))
        every = [gpu for gpus in rounds for gpu in gpus]
        fullest = max(every, key=lambda gpu: gpu.memory_mb / gpu.memory_total_mb)
        taken, there = (_gigabytes(n) for n in (fullest.memory_mb, fullest.memory_total_mb))
        sentences.append(
            f"{words.capital(words.amount(max(map(len, rounds)), 'GPU'))} ({names}): busy for "
            f"{busy(every)} of the rounds\u2019 time, the fullest with {taken} of {there} taken."
        )
    held = [c.gpu_memory_mb for r in e.history.rounds for c in r.clients if c.gpu_memory_mb]
    if held:
        sentences.append(f"A client held up to {_gigabytes(max(held))} of a GPU.")
    return sentences


def busy(gpus: Sequence[Gpu]) -> str:
    """The mean share of time that GPUs were busy."""
    return words.percent(sum(gpu.utilisation for gpu in gpus) / len(gpus) / 100)


def _gigabytes(megabytes: int) -> str:
    return f"{megabytes / 1000:.1f}{words.THIN}GB"

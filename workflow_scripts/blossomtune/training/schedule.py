"""Schedule the rounds: learning rate, optimizer steps and the order of rows."""

import math
from dataclasses import dataclass

import numpy as np

from blossomtune.config.training import TrainingSettings
from blossomtune.seeds import derive_seed


@dataclass(frozen=True)
class ScheduledRound:
    """Training of one client, or of a baseline, in one round.

    Attributes:
        round: 1, 2, …
        learning_rate: Learning rate of the round.
        steps: Optimizer steps. A baseline has none if its client is not sampled.
        row_indices: Rows of the dataset, in training order.
    """

    round: int
    learning_rate: float
    steps: int
    row_indices: list[int]


def compute_learning_rate(training: TrainingSettings, round_number: int, num_rounds: int) -> float:
    """Anneal the learning rate over rounds by a cosine, from the maximum to the minimum.

    It is constant within a round (SGDR without restarts, arXiv 1608.03983).

    Args:
        training: Settings with ``learning_rate_max`` and ``learning_rate_min``.
        round_number: 1 … num_rounds.
        num_rounds: Number of rounds. A single round has the maximum.

    Returns:
        Learning rate of the round.
    """
    high, low = training.learning_rate_max, training.learning_rate_min
    progress = (round_number - 1) / (num_rounds - 1) if num_rounds > 1 else 0.0
    return low + (high - low) * (1 + math.cos(math.pi * progress)) / 2


def count_local_steps(training: TrainingSettings, num_rows: int) -> int:
    """Count a client's optimizer steps per round: ``max_steps``, or whole local epochs.

    Args:
        training: Settings with ``max_steps`` or ``num_train_epochs`` in ``arguments``.
        num_rows: Number of the client's training rows.

    Returns:
        Number of steps, at least 1.
    """
    max_steps: int = training.arguments.get("max_steps", -1)
    if max_steps > 0:
        return max_steps
    epochs: float = training.arguments.get("num_train_epochs", 3.0)
    return max(1, math.ceil(epochs * num_rows / effective_batch_size(training)))


def effective_batch_size(training: TrainingSettings) -> int:
    """Return the examples per optimizer step: batch size times accumulated batches."""
    batch_size: int = training.arguments.get("per_device_train_batch_size", 8)
    accumulation_steps: int = training.arguments.get("gradient_accumulation_steps", 1)
    return batch_size * accumulation_steps


def select_examples(
    seed: int, client: int | str, num_rows: int, num_consumed: int, count: int
) -> list[int]:
    """Select the rows that a client trains on next.

    A client passes over its rows again and again, each time in a different random order. No row
    repeats within a pass, and passes continue across rounds.

    Args:
        seed: The configuration's seed.
        client: The client's number.
        num_rows: Number of the client's training rows.
        num_consumed: Rows that the client consumed in earlier rounds.
        count: Rows to select.

    Returns:
        ``count`` row indices in [0, num_rows), in training order.
    """
    indices: list[int] = []
    while len(indices) < count:
        epoch, offset = divmod(num_consumed + len(indices), num_rows)
        generator = np.random.default_rng(derive_seed(seed, "order", client, epoch))
        order = generator.permutation(num_rows)
        indices += order[offset : offset + count - len(indices)].tolist()
    return indices


def derive_training_seed(seed: int, client: int | str, round_number: int) -> int:
    """Derive the trainer's seed of one client and round, e.g. for dropout.

    Args:
        seed: The configuration's seed.
        client: The client's number, or the name of a baseline.
        round_number: 1, 2, …

    Returns:
        A seed below 2**31. The trainer adds to it, and NumPy's seeds end at 2**32.
    """
    return derive_seed(seed, "training", client, round_number) >> 1

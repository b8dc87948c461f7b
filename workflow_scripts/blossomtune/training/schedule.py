"""What happens in which round, decided by the configuration and the seed alone."""

import math

import numpy as np

from blossomtune.config.federation import compute_sample_size
from blossomtune.config.training import TrainingSettings
from blossomtune.seeds import derive_seed


def compute_learning_rate(training: TrainingSettings, round_number: int, num_rounds: int) -> float:
    """Cosine annealing over rounds: the maximum in round 1, the minimum in the last.

    Inside a round it is constant (SGDR without restarts, arXiv 1608.03983). A single round has
    the maximum.

    Args:
        training: with ``learning_rate_max`` and ``learning_rate_min``.
        round_: 1 … rounds.
        rounds: how many there are.
    """
    high, low = training.learning_rate_max, training.learning_rate_min
    done = (round_number - 1) / (num_rounds - 1) if num_rounds > 1 else 0.0
    return low + (high - low) * (1 + math.cos(math.pi * done)) / 2


def sample_clients(
    seed: int, round_number: int, num_clients: int, fraction: float, purpose: str = "clients"
) -> list[int]:
    """The clients that train in a round, in ascending order.

    Args:
        seed: the configuration's seed.
        round_: 1, 2, …
        clients: how many there are.
        fraction: share of them to take; at least one is taken.
        purpose: what for; other purposes draw other clients.
    """
    generator = np.random.default_rng(derive_seed(seed, purpose, round_number))
    chosen = generator.choice(
        num_clients, size=compute_sample_size(fraction, num_clients), replace=False
    )
    return sorted(int(i) for i in chosen)


def select_trainable_factor(aggregation: str, round_number: int) -> str:
    """What clients train and send: ``A``, ``B`` or ``both``.

    FFA-LoRA (arXiv 2403.12313) leaves A as it began; RoLoRA (arXiv 2502.01755) trains B in odd
    rounds and A in even ones.
    """
    if aggregation == "ffa":
        return "B"
    if aggregation == "rolora":
        return "B" if round_number % 2 else "A"
    return "both"


def count_local_steps(training: TrainingSettings, num_rows: int) -> int:
    """Optimizer steps of a client in one round: ``max_steps``, else whole local epochs."""
    fixed = training.arguments.get("max_steps", -1)
    if fixed > 0:
        return fixed
    epochs = training.arguments.get("num_train_epochs", 3.0)
    return max(1, math.ceil(epochs * num_rows / effective_batch_size(training)))


def effective_batch_size(training: TrainingSettings) -> int:
    """Examples in one optimizer step: batch size times accumulated batches."""
    arguments = training.arguments
    batch = arguments.get("per_device_train_batch_size", 8)
    return batch * arguments.get("gradient_accumulation_steps", 1)


def select_examples(
    seed: int, client: int | str, num_rows: int, num_consumed: int, count: int
) -> list[int]:
    """Which of its rows a client trains on, in order.

    A client walks through its data without end: one shuffled pass after the other, each with an
    order of its own. So nothing is seen twice before all was seen once, however the walk is cut
    into rounds.

    Args:
        seed: the configuration's seed.
        client: the client's number.
        rows: how many examples it holds.
        start: how many it has taken in earlier rounds.
        count: how many it takes now.

    Returns:
        ``count`` row numbers in [0, rows).
    """
    taken: list[int] = []
    while len(taken) < count:
        epoch, offset = divmod(num_consumed + len(taken), num_rows)
        order = np.random.default_rng(derive_seed(seed, "order", client, epoch)).permutation(
            num_rows
        )
        taken += order[offset : offset + count - len(taken)].tolist()
    return taken


def rounds_participated(
    seed: int, client: int, round_number: int, num_clients: int, fraction: float
) -> int:
    """In how many rounds before this one a client was chosen."""
    return sum(
        client in sample_clients(seed, r, num_clients, fraction) for r in range(1, round_number)
    )

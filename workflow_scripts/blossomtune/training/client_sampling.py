"""Decide which clients train in which round."""

import numpy as np

from blossomtune.config.federation import compute_sample_size
from blossomtune.seeds import derive_seed


def sample_clients(
    seed: int, round_number: int, num_clients: int, fraction: float, purpose: str = "clients"
) -> list[int]:
    """Sample the clients of a round.

    Args:
        seed: The configuration's seed.
        round_number: 1, 2, …
        num_clients: Number of clients in the federation.
        fraction: Share of clients to sample. At least one is sampled.
        purpose: Seed purpose. Different purposes give different samples.

    Returns:
        Client numbers in ascending order.
    """
    generator = np.random.default_rng(derive_seed(seed, purpose, round_number))
    sample_size = compute_sample_size(fraction, num_clients)
    return sorted(int(i) for i in generator.choice(num_clients, size=sample_size, replace=False))


def rounds_participated(
    seed: int, client: int, round_number: int, num_clients: int, fraction: float
) -> int:
    """Count earlier rounds in which a client was sampled.

    Args:
        seed: The configuration's seed.
        client: The client's number.
        round_number: The current round, which does not count.
        num_clients: Number of clients in the federation.
        fraction: Share of clients that train per round.

    Returns:
        Number of rounds.
    """
    return sum(
        client in sample_clients(seed, r, num_clients, fraction) for r in range(1, round_number)
    )

"""Decide which clients train in which round."""

from collections.abc import Sequence

import numpy as np

from blossomtune.config.federation import compute_sample_size
from blossomtune.seeds import derive_seed


def sample_clients(
    seed: int, round_number: int, clients: Sequence[int], fraction: float, purpose: str = "clients"
) -> list[int]:
    """Sample the clients of a round.

    Args:
        seed: The configuration's seed.
        round_number: 1, 2, …
        clients: Numbers of the clients to choose from, in ascending order.
        fraction: Share of clients to sample. At least one is sampled.
        purpose: Seed purpose. Different purposes give different samples.

    Returns:
        Client numbers in ascending order.
    """
    generator = np.random.default_rng(derive_seed(seed, purpose, round_number))
    sample_size = compute_sample_size(fraction, len(clients))
    positions = generator.choice(len(clients), size=sample_size, replace=False)
    return sorted(clients[int(position)] for position in positions)

"""Privacy budget of a federation."""

import math

from blossomtune.config.federation import PrivacySettings
from blossomtune.privacy.subsampled_gaussian import compute_subsampled_epsilon


def compute_epsilon(
    privacy: PrivacySettings, num_clients: int, num_sampled_clients: int, num_rounds: int
) -> dict[str, float]:
    """Return the client-level privacy guarantee of all rounds together.

    Replacing one client's data moves the sum of clipped updates by at most twice the clipping
    norm. The noise is therefore ``noise_multiplier / 2`` of the sensitivity. Adaptive clipping
    splits the noise between updates and the count of clipped updates, so that both together are
    the same mechanism.

    If all clients are sampled, the rounds together are one Gaussian mechanism with a noise of
    ``noise_multiplier / (2 √num_rounds)`` of the sensitivity (arXiv 1905.02383, corollary 2). Its
    epsilon is exact (arXiv 1805.06530, theorem 8).

    Otherwise the bound for sampling without replacement applies. It assumes that the sampled
    clients are secret. Against those who know them, from the seed or history.json, pass
    ``num_sampled_clients`` as ``num_clients``.

    Args:
        privacy: The federation's privacy settings.
        num_clients: Number of clients in the federation.
        num_sampled_clients: Clients sampled per round.
        num_rounds: Rounds so far.

    Returns:
        ``epsilon``, rounded up to six decimals, and ``delta``, which should be far below
        ``1 / num_clients``.
    """
    from dp_accounting.gaussian_mechanism import get_epsilon_gaussian

    if not num_rounds:
        return {"epsilon": 0.0, "delta": privacy.delta}
    deviation = privacy.noise_multiplier / 2
    epsilon = get_epsilon_gaussian(deviation / math.sqrt(num_rounds), privacy.delta)
    if num_sampled_clients < num_clients:
        sampled = compute_subsampled_epsilon(
            deviation, num_clients, num_sampled_clients, num_rounds, privacy.delta
        )
        epsilon = min(epsilon, sampled)
    return {"epsilon": math.ceil(epsilon * 1e6) / 1e6, "delta": privacy.delta}

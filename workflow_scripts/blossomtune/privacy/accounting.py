"""Privacy budget of a federation, by Rényi accounting."""

import math

from blossomtune.config.federation import PrivacySettings


def compute_epsilon(
    privacy: PrivacySettings, num_clients: int, num_sampled_clients: int, num_rounds: int
) -> dict[str, float]:
    """Return the client-level privacy guarantee of all rounds together.

    Replacing one client's data moves the sum of clipped updates by at most twice the clipping
    norm. The noise is therefore ``noise_multiplier / 2`` of the sensitivity. Rényi divergences
    add up over rounds (arXiv 1702.07476). Adaptive clipping splits the noise between updates and
    the count of clipped updates, so that both together are the same mechanism.

    Where not all clients are sampled, the bound for sampling without replacement applies if it is
    smaller (arXiv 1808.00087). It assumes that the sampled clients are secret. Against those who
    know them, from the seed or history.json, pass ``num_sampled_clients`` as ``num_clients``.

    Args:
        privacy: The federation's privacy settings.
        num_clients: Number of clients in the federation.
        num_sampled_clients: Clients sampled per round. Fewer replies do not raise epsilon.
        num_rounds: Rounds so far.

    Returns:
        ``epsilon``, rounded up to six decimals, and ``delta``, which should be far below
        ``1 / num_clients``.
    """
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    if not num_rounds:
        return {"epsilon": 0.0, "delta": privacy.delta}
    gaussian = dp_accounting.GaussianDpEvent(privacy.noise_multiplier / 2)
    events = [gaussian]
    if num_sampled_clients < num_clients:
        events.append(
            dp_accounting.SampledWithoutReplacementDpEvent(
                num_clients, num_sampled_clients, gaussian
            )
        )
    epsilons = []
    for event in events:
        accountant = RdpAccountant(
            neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE
        )
        accountant.compose(event, num_rounds)
        epsilons.append(accountant.get_epsilon(privacy.delta))
    return {"epsilon": math.ceil(min(epsilons) * 1e6) / 1e6, "delta": privacy.delta}

"""TODO docstring."""

import math

from blossomtune.config.federation import PrivacySettings


def compute_epsilon(
    privacy: PrivacySettings, num_clients: int, num_sampled_clients: int, num_rounds: int
) -> dict[str, float]:
    """What the adapters of so many rounds give away about any one client.

    A client whose data are replaced moves the sum of clipped updates by up to twice the norm, so
    the noise is ``noise_multiplier / 2`` of the sensitivity, and Rényi's divergences add up over
    rounds (arXiv 1702.07476). Adaptive clipping splits the noise between updates and the count of
    clipped ones so that both together are the same mechanism. Where not all clients take part, the
    bound for samples without replacement holds if it is the smaller one (arXiv 1808.00087); it
    counts on nobody knowing who took part. Those who do, from the seed or history.json, are held
    to ``spent(privacy, sampled, sampled, rounds)``.

    Args:
        privacy: the block.
        clients: how many there are.
        sampled: how many of them are asked in a round; if fewer answer, it is not more.
        rounds: rounds so far.

    Returns:
        ``epsilon``, rounded up, and ``delta``, which ought to be far below one over ``clients``.
    """
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    if not num_rounds:
        return {"epsilon": 0.0, "delta": privacy.delta}
    once = dp_accounting.GaussianDpEvent(privacy.noise_multiplier / 2)
    events = [once]
    if num_sampled_clients < num_clients:
        events.append(
            dp_accounting.SampledWithoutReplacementDpEvent(num_clients, num_sampled_clients, once)
        )
    epsilons = []
    for event in events:
        replace_one = dp_accounting.NeighboringRelation.REPLACE_ONE
        accountant = RdpAccountant(neighboring_relation=replace_one)
        accountant.compose(event, num_rounds)
        epsilons.append(accountant.get_epsilon(privacy.delta))
    return {"epsilon": math.ceil(min(epsilons) * 1e6) / 1e6, "delta": privacy.delta}

"""Rounds of a few clients with differential privacy, without a federation."""

import math

import torch

from blossomtune.config.federation import FederationSettings
from blossomtune.federation.server.strategies import ServerStrategy, WeightedState

NEGLIGIBLE_NOISE = 1e-9


def build_strategy(seed=7, state_dict=None, **privacy):
    """Return a server strategy with these privacy settings."""
    settings = FederationSettings(aggregation="ffa", privacy=privacy)
    return ServerStrategy(settings, seed, state_dict)


def zeros(size=40):
    """Return two tensors of zeros."""
    return {"one": torch.zeros(size // 2, 2), "two": torch.zeros(size % 2 + 1)}


def client_results(*norms, size=40, weights=None):
    """Return results that moved from zero by these L2 norms, in different directions."""
    results = []
    for i, norm in enumerate(norms):
        update = torch.randn(size // 2, 2, generator=torch.Generator().manual_seed(i))
        state = {**zeros(size), "one": update * norm / update.norm()}
        weight = weights[i] if weights else 8
        results.append(WeightedState(state, weight, was_clipped=norm > 0.1))
    return results


def l2_norm(state):
    """Return the L2 norm over all tensors."""
    return math.sqrt(sum(float(t.double().square().sum()) for t in state.values()))

"""Weighted means over client updates, in float64.

Client i sends A_i (r_i, k) and B_i (d, r_i) with LoRA scaling s_i. Its normalized weight is p_i.
The mean update is ΔW* = Σ p_i s_i B_i A_i, a (d, k) matrix that is never materialized.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from blossomtune.aggregation.layers import get_factors
from blossomtune.aggregation.types import (
    LORA_A_SUFFIX,
    LORA_B_SUFFIX,
    ClientUpdate,
    WeightedFactors,
)

ZERO = torch.zeros((), dtype=torch.float64)
"""Start of sums in float64."""


def normalize_weights(weights: Sequence[float]) -> list[float]:
    """Return weights that sum to 1."""
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def mean_update(updates: Sequence[ClientUpdate], layer: str) -> WeightedFactors:
    """Return the terms of a layer's mean update ΔW* = Σ p_i s_i B_i A_i.

    Args:
        updates: One update per client, of any ranks.
        layer: Name of the layer.

    Returns:
        One term (p_i s_i, B_i, A_i) per client.
    """
    weights = normalize_weights([u.weight for u in updates])
    return [
        (p * u.scale, *get_factors(u.state, layer)) for p, u in zip(weights, updates, strict=True)
    ]


def residual_update(updates: Sequence[ClientUpdate], layer: str) -> WeightedFactors:
    """Return the terms of ΔW* − s B̄ Ā = Σ p_i s (B_i − B̄)(A_i − Ā).

    Args:
        updates: One update per client, all of the same rank and scaling s.
        layer: Name of the layer.

    Returns:
        One term (p_i s, B_i − B̄, A_i − Ā) per client, in float64.
    """
    b = weighted_mean(updates, layer + LORA_B_SUFFIX)
    a = weighted_mean(updates, layer + LORA_A_SUFFIX)
    return [(w, b_i - b, a_i - a) for w, b_i, a_i in mean_update(updates, layer)]


def weighted_mean(updates: Sequence[ClientUpdate], name: str) -> Tensor:
    """Compute the mean Σ p_i W_i of one tensor.

    Args:
        updates: One update per client.
        name: Name of the tensor, which has the same shape in all updates.

    Returns:
        Tensor of that shape in float64.
    """
    weights = normalize_weights([u.weight for u in updates])
    terms = (p * u.state[name].double() for p, u in zip(weights, updates, strict=True))
    return sum(terms, start=ZERO)

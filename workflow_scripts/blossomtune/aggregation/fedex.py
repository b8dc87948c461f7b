"""TODO docstring."""

from collections.abc import Sequence

from blossomtune.aggregation.fedavg import fedavg
from blossomtune.aggregation.low_rank import (
    cast_factors,
    iter_factors,
    residual_update,
    stack_factors,
)
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def fedex(updates: Sequence[ClientUpdate], start: StateDict, scale: float) -> AggregationResult:
    """Each tensor's average, and what that lacks of ΔW* into the base (arXiv 2410.09432).

    Exact where all ranks and scales are the server's.
    """
    folded = {
        layer: cast_factors(a, *stack_factors(residual_update(updates, layer)))
        for layer, (_, a) in iter_factors(start)
    }
    return AggregationResult(fedavg(updates, start, scale).state, folded)

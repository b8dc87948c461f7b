"""TODO docstring."""

from collections.abc import Sequence

from blossomtune.aggregation.low_rank import (
    build_layer_state,
    iter_factors,
    mean_update,
    truncated_svd,
)
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def flexlora(updates: Sequence[ClientUpdate], start: StateDict, scale: float) -> AggregationResult:
    """The best approximation of ΔW* of the server's rank (arXiv 2402.11505), for any ranks.

    Its components are in falling order, so that ``cut`` gives the best one of any smaller rank.
    """
    state = {}
    for layer, (_, a) in iter_factors(start):
        best_b, best_a = truncated_svd(mean_update(updates, layer), len(a))
        state |= build_layer_state(layer, (best_b / scale, best_a), a)
    return AggregationResult(state)

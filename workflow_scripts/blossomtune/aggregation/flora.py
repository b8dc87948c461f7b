"""TODO docstring."""

from collections.abc import Sequence

from blossomtune.aggregation.low_rank import cast_factors, iter_factors, mean_update, stack_factors
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def flora(updates: Sequence[ClientUpdate], start: StateDict, scale: float) -> AggregationResult:
    """ΔW* goes into the base as the clients' factors side by side (arXiv 2409.05976).

    Exact for any ranks. ``start`` is a fresh adapter, with which everyone goes on.
    """
    folded = {
        layer: cast_factors(a, *stack_factors(mean_update(updates, layer)))
        for layer, (_, a) in iter_factors(start)
    }
    return AggregationResult(dict(start), folded)

"""FLoRA: stack the clients' factors into the base weights (arXiv 2409.05976)."""

from collections.abc import Sequence

from blossomtune.aggregation.client_updates import mean_update
from blossomtune.aggregation.lazy_factors import LazyFactors
from blossomtune.aggregation.low_rank import stack_factors
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def flora(
    updates: Sequence[ClientUpdate], server_state: StateDict, server_scale: float
) -> AggregationResult:
    """Add ΔW* = Σ p_i s_i B_i A_i to the base weights, exactly.

    Args:
        updates: One update per client, of any ranks r_i.
        server_state: A newly initialized adapter, with which the next round starts.
        server_scale: Not used.

    Returns:
        ``server_state``, and factors (d, R) and (R, k) of each layer's ΔW* with R = Σ r_i.
    """
    base_deltas = LazyFactors(
        server_state, lambda layer: stack_factors(mean_update(updates, layer))
    )
    return AggregationResult(dict(server_state), base_deltas)

"""FedEx-LoRA: average the factors, and correct the base weights (arXiv 2410.09432)."""

from collections.abc import Sequence

from blossomtune.aggregation.client_updates import residual_update
from blossomtune.aggregation.fedavg import fedavg
from blossomtune.aggregation.lazy_factors import LazyFactors
from blossomtune.aggregation.low_rank import stack_factors
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def fedex(
    updates: Sequence[ClientUpdate], server_state: StateDict, server_scale: float
) -> AggregationResult:
    """Average each tensor, and add the residual ΔW* − s B̄ Ā to the base weights.

    The sum of both is exactly ΔW* = Σ p_i s B_i A_i.

    Args:
        updates: One update per client, all of the server's rank and scaling s.
        server_state: The server's adapter, which gives layers, dtypes and devices.
        server_scale: Not used.

    Returns:
        Mean of each tensor, and the residual of each layer with rank R = Σ r_i.
    """
    residuals = LazyFactors(
        server_state, lambda layer: stack_factors(residual_update(updates, layer))
    )
    return AggregationResult(fedavg(updates, server_state, server_scale).state, residuals)

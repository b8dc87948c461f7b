"""FlexLoRA: truncate the SVD of the mean update to the server's rank (arXiv 2402.11505)."""

from collections.abc import Sequence

from blossomtune.aggregation.client_updates import mean_update
from blossomtune.aggregation.layers import iter_factors, pad_rank
from blossomtune.aggregation.low_rank import truncated_svd
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def flexlora(
    updates: Sequence[ClientUpdate], server_state: StateDict, server_scale: float
) -> AggregationResult:
    """Compute the best approximation s B A of ΔW* = Σ p_i s_i B_i A_i of the server's rank.

    Components are in falling order of singular values. ``truncate_rank`` therefore gives each
    client the best approximation of its own rank.

    Args:
        updates: One update per client, of any ranks r_i.
        server_state: The server's adapter, which gives layers, rank r, dtypes and devices.
        server_scale: The server's LoRA scaling s.

    Returns:
        B (d, r) and A (r, k) of each layer. If ΔW* has a smaller rank, the remaining rows of A
        are the server's and those columns of B are zero.
    """
    state: StateDict = {}
    for layer, (_, a) in iter_factors(server_state):
        best_b, best_a = truncated_svd(mean_update(updates, layer), rank=len(a))
        state |= pad_rank(layer, (best_b / server_scale, best_a), a)
    return AggregationResult(state)

"""FedAvg of adapters, as in FedIT (arXiv 2305.05644)."""

from collections.abc import Sequence

from blossomtune.aggregation.client_updates import weighted_mean
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def fedavg(
    updates: Sequence[ClientUpdate], server_state: StateDict, server_scale: float
) -> AggregationResult:
    """Average each tensor over the clients: B̄ = Σ p_i B_i and Ā = Σ p_i A_i.

    The product of the means is not the mean update: ΔW* − s B̄ Ā = s Σ p_i (B_i − B̄)(A_i − Ā).
    The difference is zero where all clients have the same A or the same B. DoRA's magnitudes are
    averaged, too.

    Args:
        updates: One update per client, all of the server's rank.
        server_state: The server's adapter, which gives dtypes and devices.
        server_scale: Not used.

    Returns:
        Mean of each tensor that clients sent.
    """
    return AggregationResult(
        {name: weighted_mean(updates, name).to(server_state[name]) for name in updates[0].state}
    )

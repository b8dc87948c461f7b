"""FFA-LoRA: average B, while A stays as initialized (arXiv 2403.12313)."""

from collections.abc import Sequence

from blossomtune.aggregation.fedavg import fedavg
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def select_ffa_factor(round_number: int) -> str:
    """Return ``B``, the factor that clients train in every round."""
    return "B"


def ffa(
    updates: Sequence[ClientUpdate], server_state: StateDict, server_scale: float
) -> AggregationResult:
    """Average B over the clients, which is exact: Σ p_i s B_i A = s B̄ A.

    Args:
        updates: B (d, r) of each client, at the server's rank r.
        server_state: The server's adapter, which gives dtypes and devices.
        server_scale: Not used.

    Returns:
        B̄ = Σ p_i B_i of each layer.
    """
    return fedavg(updates, server_state, server_scale)

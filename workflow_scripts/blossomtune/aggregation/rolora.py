"""RoLoRA: train and average B and A in turn (arXiv 2502.01755)."""

from collections.abc import Sequence

from blossomtune.aggregation.fedavg import fedavg
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def select_rolora_factor(round_number: int) -> str:
    """Return the factor that clients train: ``B`` in odd rounds, ``A`` in even ones."""
    return "B" if round_number % 2 else "A"


def rolora(
    updates: Sequence[ClientUpdate], server_state: StateDict, server_scale: float
) -> AggregationResult:
    """Average the trained factor, which is exact since clients share the other one.

    Args:
        updates: B (d, r) or A (r, k) of each client, at the server's rank r.
        server_state: The server's adapter, which gives dtypes and devices.
        server_scale: Not used.

    Returns:
        B̄ = Σ p_i B_i or Ā = Σ p_i A_i of each layer.
    """
    return fedavg(updates, server_state, server_scale)

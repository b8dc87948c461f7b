"""TODO docstring."""

from collections.abc import Sequence

from blossomtune.aggregation.low_rank import weighted_mean
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def fedavg(updates: Sequence[ClientUpdate], start: StateDict, scale: float) -> AggregationResult:
    """Each tensor's average (FedIT, arXiv 2305.05644); DoRA's magnitudes have no other.

    Not exact: ΔW* − s B̄ Ā = s Σ p_i (B_i − B̄)(A_i − Ā). That is zero where the clients share a
    factor, and so this is exact for FFA-LoRA (arXiv 2403.12313), where A stays as it started, and
    for RoLoRA (arXiv 2502.01755), where the factors take turns; both send what they trained only.
    """
    return AggregationResult(
        {name: weighted_mean(updates, name).to(start[name]) for name in updates[0].state}
    )

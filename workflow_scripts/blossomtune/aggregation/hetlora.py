"""HetLoRA: average zero-padded factors, weighted by their norms (arXiv 2401.06432)."""

from collections.abc import Sequence

from torch.nn.functional import pad

from blossomtune.aggregation.client_updates import ZERO, normalize_weights
from blossomtune.aggregation.layers import get_factors, iter_factors, pad_rank
from blossomtune.aggregation.low_rank import frobenius_norm
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def hetlora(
    updates: Sequence[ClientUpdate], server_state: StateDict, server_scale: float
) -> AggregationResult:
    """Average factors that are padded with zeros to the largest rank.

    The weights are p_i = ‖ΔW_i‖_F / Σ ‖ΔW_j‖_F with ΔW_i = s_i B_i A_i, per layer, since the paper
    defines them for one matrix. If all norms are zero, aggregation weights are used instead. B_i
    is rescaled by s_i / s.

    Args:
        updates: One update per client, of any ranks r_i.
        server_state: The server's adapter, which gives layers, rank r, dtypes and devices.
        server_scale: The server's LoRA scaling s.

    Returns:
        B (d, r) and A (r, k) of each layer.
    """
    state: StateDict = {}
    for layer, (_, a) in iter_factors(server_state):
        factors = [get_factors(u.state, layer) for u in updates]
        norms = [u.scale * frobenius_norm(f) for u, f in zip(updates, factors, strict=True)]
        weights = normalize_weights(norms if any(norms) else [u.weight for u in updates])
        max_rank = max(len(a_i) for _, a_i in factors)
        mean_b, mean_a = ZERO, ZERO
        for p, u, (b_i, a_i) in zip(weights, updates, factors, strict=True):
            missing = max_rank - len(a_i)
            padded_b, padded_a = pad(b_i, (0, missing)), pad(a_i, (0, 0, 0, missing))
            mean_b = mean_b + p * u.scale / server_scale * padded_b.double()
            mean_a = mean_a + p * padded_a.double()
        state |= pad_rank(layer, (mean_b, mean_a), a)
    return AggregationResult(state)

"""TODO docstring."""

from collections.abc import Sequence

from torch.nn.functional import pad

from blossomtune.aggregation.low_rank import (
    build_layer_state,
    frobenius_norm,
    get_factors,
    iter_factors,
    normalize_weights,
)
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict


def hetlora(updates: Sequence[ClientUpdate], start: StateDict, scale: float) -> AggregationResult:
    """The average of factors padded with zeros to one rank (arXiv 2401.06432).

    In place of p_i stands ‖ΔW_i‖_F as a share of their sum. The paper writes it for one matrix, so
    it is taken layer by layer. Where all are zero, p_i stays. B_i is brought to the server's scale.
    """
    state = {}
    for layer, (_, a) in iter_factors(start):
        pairs = [get_factors(u, layer) for u in updates]
        norms = [u.scale * frobenius_norm(pair) for u, pair in zip(updates, pairs, strict=True)]
        shares = normalize_weights(norms if any(norms) else [u.weight for u in updates])
        rank = max(len(one_a) for _, one_a in pairs)
        sums = 0, 0
        for share, u, (one_b, one_a) in zip(shares, updates, pairs, strict=True):
            missing = rank - len(one_a)
            wide_b, wide_a = pad(one_b, (0, missing)), pad(one_a, (0, 0, 0, missing))
            factor = share * u.scale / scale
            sums = sums[0] + factor * wide_b.double(), sums[1] + share * wide_a.double()
        state |= build_layer_state(layer, sums, a)
    return AggregationResult(state)

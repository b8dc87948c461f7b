"""How the clients' low-rank adapters become one, as pure functions over named tensors.

In each layer client i has factors A_i (r_i, k) and B_i (d, r_i), a scale s_i and a weight, which
as a share of all is p_i. Its update is ΔW_i = s_i B_i A_i, and what one would like to have is
ΔW* = Σ p_i s_i B_i A_i, a matrix (d, k) that nothing here ever forms. The server holds one adapter
of rank r and scale s. Sums are taken in float64; results have its precision and device.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from blossomtune.aggregation.types import (
    LORA_A_SUFFIX,
    LORA_B_SUFFIX,
    ClientUpdate,
    Factors,
    WeightedFactors,
)
from blossomtune.named_tensors import StateDict


def truncate_rank(
    state: StateDict, rank: int, server_scale: float, client_scale: float
) -> StateDict:
    """What a client of a smaller rank gets: the leading components, at its own scale.

    Args:
        state: the server's adapter, or one factor of it; other tensors stay as they are.
        rank: the client's rank.
        scale: the server's scale.
        to: the client's.
    """
    kept = dict(state)
    for name, value in state.items():
        if name.endswith(LORA_A_SUFFIX):
            kept[name] = value[:rank]
        elif name.endswith(LORA_B_SUFFIX):
            kept[name] = value[:, :rank] * (server_scale / client_scale)
    return kept


def stack_base_deltas(
    state: StateDict, scale: float, base_deltas: Sequence[dict[str, Factors]]
) -> dict[str, Factors]:
    """An adapter and all that went into the base, as one pair of factors a layer; exact.

    No rank is above min(d, k): where the factors side by side are wider, they are decomposed.
    """
    whole = {}
    for layer, (b, a) in iter_factors(state):
        terms = [(1.0, *each[layer]) for each in base_deltas if layer in each] + [(scale, b, a)]
        most = min(len(b), a.shape[1])
        wide = sum(len(a_i) for _, _, a_i in terms) > most
        whole[layer] = cast_factors(
            a, *(truncated_svd(terms, most) if wide else stack_factors(terms))
        )
    return whole


def list_layers(state: StateDict) -> list[str]:
    """The layers of which both factors are there."""
    found = [name.removesuffix(LORA_A_SUFFIX) for name in state if name.endswith(LORA_A_SUFFIX)]
    return [layer for layer in found if layer + LORA_B_SUFFIX in state]


def mean_update(updates: Sequence[ClientUpdate], layer: str) -> WeightedFactors:
    """ΔW*."""
    shares = normalize_weights([u.weight for u in updates])
    return [(p * u.scale, *get_factors(u, layer)) for p, u in zip(shares, updates, strict=True)]


def residual_update(updates: Sequence[ClientUpdate], layer: str) -> WeightedFactors:
    """ΔW* − s B̄ Ā = Σ p_i s (B_i − B̄)(A_i − Ā); ranks and scales must be equal."""
    b, a = (
        weighted_mean(updates, layer + LORA_B_SUFFIX),
        weighted_mean(updates, layer + LORA_A_SUFFIX),
    )
    return [(w, b_i - b, a_i - a) for w, b_i, a_i in mean_update(updates, layer)]


def weighted_mean(updates: Sequence[ClientUpdate], name: str) -> Tensor:
    """Σ p_i of a tensor, in float64."""
    shares = normalize_weights([u.weight for u in updates])
    return sum(p * u.state[name].double() for p, u in zip(shares, updates, strict=True))


def stack_factors(terms: WeightedFactors) -> Factors:
    """The terms' factors side by side, in float64: B (d, R) and A (R, k) with R = Σ r_i."""
    return _concatenate_b(terms), _concatenate_a(terms)


def compute_qr_core(terms: WeightedFactors) -> tuple[Tensor, Tensor, Tensor]:
    """R_b and R_a of B = Q_b R_b and Aᵀ = Q_a R_a, and R_b R_aᵀ, with the singular values of ΔW."""
    r_b = torch.linalg.qr(_concatenate_b(terms), mode="r").R
    r_a = torch.linalg.qr(_concatenate_a(terms).T, mode="r").R
    return r_b, r_a, r_b @ r_a.T


def frobenius_norm(factors: Factors) -> float:
    """‖B A‖_F from products of the size of the rank."""
    b, a = (m.double() for m in factors)
    return math.sqrt(max(0.0, float(((b.T @ b) * (a @ a.T)).sum())))


def truncated_svd(terms: WeightedFactors, rank: int) -> Factors:
    """The best approximation of ΔW with at most so many components; fewer where it has fewer.

    With R_b R_aᵀ = U S Vᵀ, neither Q is needed: Q_b U S = B R_aᵀ V and S Vᵀ Q_aᵀ = Uᵀ R_b A.
    O((d + k) R² + R³) for R = Σ r_i.

    Returns:
        Q_b U √S and √S Vᵀ Q_aᵀ in float64, in falling order. In each row of the second the largest
        number is positive, as signs are otherwise the linear algebra library's choice.
    """
    r_b, r_a, small = compute_qr_core(terms)
    u, s, vt = torch.linalg.svd(small, full_matrices=False)
    noise = s[:1] * max(len(terms[0][1]), terms[0][2].shape[1]) * torch.finfo(s.dtype).eps
    found = int((s[:rank] > noise).sum())
    root = s[:found].sqrt()
    b = _concatenate_b(terms) @ (r_a.T @ (vt[:found].T / root))
    a = (u[:, :found] / root).T @ r_b @ _concatenate_a(terms)
    signs = a.gather(1, a.abs().argmax(dim=1, keepdim=True)).sign()
    return b * signs.T, a * signs


def iter_factors(state: StateDict) -> Iterable[tuple[str, Factors]]:
    return (
        (layer, (state[layer + LORA_B_SUFFIX], state[layer + LORA_A_SUFFIX]))
        for layer in list_layers(state)
    )


def get_factors(update: ClientUpdate, layer: str) -> Factors:
    return update.state[layer + LORA_B_SUFFIX], update.state[layer + LORA_A_SUFFIX]


def _concatenate_b(terms: WeightedFactors) -> Tensor:
    whole = _concatenate_float64([b for _, b, _ in terms], 1)
    widths = [b.shape[1] for _, b, _ in terms]
    for part, (w, _, _) in zip(whole.split(widths, dim=1), terms, strict=True):
        part.mul_(w)
    return whole


def _concatenate_a(terms: WeightedFactors) -> Tensor:
    return _concatenate_float64([a for _, _, a in terms], 0)


def _concatenate_float64(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Joined in float64, without a copy of the parts."""
    return torch.cat(tensors, dim, out=tensors[0].new_empty(0, dtype=torch.float64))


def cast_factors(reference: Tensor, b: Tensor, a: Tensor) -> Factors:
    return b.to(reference), a.to(reference)


def build_layer_state(layer: str, factors: Factors, server_a: Tensor) -> StateDict:
    """Both factors by name, at the rank of the server's ``a``: zeros in B, rows of ``a`` in A.

    With zeros in both, a component would never learn again: the gradient of either factor is a
    multiple of the other.
    """
    new_b, new_a = factors
    rank = len(new_a)
    new_b, new_a = (
        pad(new_b, (0, len(server_a) - rank)),
        torch.cat([new_a, server_a[rank:].to(new_a)]),
    )
    return {layer + LORA_A_SUFFIX: new_a.to(server_a), layer + LORA_B_SUFFIX: new_b.to(server_a)}


def normalize_weights(weights: Sequence[float]) -> list[float]:
    total = math.fsum(weights)
    return [weight / total for weight in weights]

"""Linear algebra on sums of low-rank products, which are never materialized.

A sum W = Σ w_i B_i A_i has factors B_i (d, r_i) and A_i (r_i, k). R = Σ r_i.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from blossomtune.aggregation.types import Factors, WeightedFactors


def stack_factors(terms: WeightedFactors) -> Factors:
    """Concatenate the terms' factors: B (d, R) and A (R, k) with W = B A, in float64."""
    return _concatenate_b(terms), _concatenate_a(terms)


def compute_qr_core(terms: WeightedFactors) -> tuple[Tensor, Tensor, Tensor]:
    """Compute a small matrix with the singular values of W.

    Args:
        terms: Terms (w_i, B_i, A_i) of W.

    Returns:
        R_b and R_a of B = Q_b R_b and Aᵀ = Q_a R_a, and the core R_b R_aᵀ, in float64. With
        R ≥ max(d, k) no rotation makes them smaller, so Q_b and Q_a are identities.
    """
    r_b, r_a = _concatenate_b(terms), _concatenate_a(terms).T
    if r_b.shape[1] < max(len(r_b), len(r_a)):
        r_b, r_a = (torch.linalg.qr(factor, mode="r").R for factor in (r_b, r_a))
    return r_b, r_a, r_b @ r_a.T


def frobenius_norm(factors: Factors) -> float:
    """Return ‖B A‖_F from (r, r) products."""
    b, a = (factor.double() for factor in factors)
    return math.sqrt(max(0.0, float(((b.T @ b) * (a @ a.T)).sum())))


def truncated_svd(terms: WeightedFactors, rank: int) -> Factors:
    """Compute the best approximation of W of a given rank.

    With R_b R_aᵀ = U S Vᵀ, neither Q is needed: Q_b U S = B R_aᵀ V and S Vᵀ Q_aᵀ = Uᵀ R_b A.
    The cost is O((d + k) R² + R³).

    Args:
        terms: Terms (w_i, B_i, A_i) of W.
        rank: Largest rank of the result. It is smaller if W has a smaller rank.

    Returns:
        Q_b U √S and √S Vᵀ Q_aᵀ in float64, in falling order of singular values. The largest
        number of each row of the second is positive. Otherwise signs would depend on the linear
        algebra library.
    """
    r_b, r_a, core = compute_qr_core(terms)
    u, s, vt = torch.linalg.svd(core, full_matrices=False)
    rounding_error = s[:1] * max(len(terms[0][1]), terms[0][2].shape[1]) * torch.finfo(s.dtype).eps
    rank = int((s[:rank] > rounding_error).sum())
    root = s[:rank].sqrt()
    b = _concatenate_b(terms) @ (r_a.T @ (vt[:rank].T / root))
    a = (u[:, :rank] / root).T @ r_b @ _concatenate_a(terms)
    signs = a.gather(1, a.abs().argmax(dim=1, keepdim=True)).sign()
    return b * signs.T, a * signs


def cast_factors(factors: Factors, reference: Tensor) -> Factors:
    """Move factors to the dtype and device of another tensor.

    Args:
        factors: B (d, r) and A (r, k).
        reference: Tensor that gives dtype and device.

    Returns:
        B and A.
    """
    b, a = factors
    return b.to(reference), a.to(reference)


def _concatenate_b(terms: WeightedFactors) -> Tensor:
    stacked = _concatenate_float64([b for _, b, _ in terms], 1)
    widths = [b.shape[1] for _, b, _ in terms]
    for block, (w, _, _) in zip(torch.split(stacked, widths, dim=1), terms, strict=True):
        block.mul_(w)
    return stacked


def _concatenate_a(terms: WeightedFactors) -> Tensor:
    return _concatenate_float64([a for _, _, a in terms], 0)


def _concatenate_float64(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Concatenate in float64, without a float64 copy of the parts."""
    return torch.cat(list(tensors), dim, out=tensors[0].new_empty(0, dtype=torch.float64))

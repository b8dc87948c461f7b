"""How the clients' low-rank adapters become one, as pure functions over named tensors.

In each layer client i has factors A_i (r_i, k) and B_i (d, r_i), a scale s_i and a weight, which
as a share of all is p_i. Its update is ΔW_i = s_i B_i A_i, and what one would like to have is
ΔW* = Σ p_i s_i B_i A_i, a matrix (d, k) that nothing here ever forms. The server holds one adapter
of rank r and scale s. Sums are taken in float64; results have its precision and device.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

State = dict[str, Tensor]
"""Parameters of an adapter by the names that PEFT gives them."""

Factors = tuple[Tensor, Tensor]
"""B (d, R) and A (R, k) of one layer, with the scale applied: ΔW = B A."""

Terms = list[tuple[float, Tensor, Tensor]]
"""A matrix (d, k) as a sum of products: ΔW = Σ w_i B_i A_i."""

A, B = ".lora_A.weight", ".lora_B.weight"
"""How PEFT's names of the factors end; what stands before is the layer."""


@dataclass(frozen=True)
class Update:
    """One client's answer; weights need not sum to 1."""

    state: State
    scale: float
    weight: float


@dataclass(frozen=True)
class Aggregate:
    """The new global adapter, or its trained part, and by layer what the base takes up."""

    state: State
    folded: dict[str, Factors] = field(default_factory=dict)


def fedavg(updates: Sequence[Update], start: State, scale: float) -> Aggregate:
    """Each tensor's average (FedIT, arXiv 2305.05644); DoRA's magnitudes have no other.

    Not exact: ΔW* − s B̄ Ā = s Σ p_i (B_i − B̄)(A_i − Ā). That is zero where the clients share a
    factor, and so this is exact for FFA-LoRA (arXiv 2403.12313), where A stays as it started, and
    for RoLoRA (arXiv 2502.01755), where the factors take turns; both send what they trained only.
    """
    return Aggregate({name: mean(updates, name).to(start[name]) for name in updates[0].state})


def flexlora(updates: Sequence[Update], start: State, scale: float) -> Aggregate:
    """The best approximation of ΔW* of the server's rank (arXiv 2402.11505), for any ranks.

    Its components are in falling order, so that ``cut`` gives the best one of any smaller rank.
    """
    state = {}
    for layer, (_, a) in _by_layer(start):
        best_b, best_a = truncate(target(updates, layer), len(a))
        state |= _named(layer, (best_b / scale, best_a), a)
    return Aggregate(state)


def flora(updates: Sequence[Update], start: State, scale: float) -> Aggregate:
    """ΔW* goes into the base as the clients' factors side by side (arXiv 2409.05976).

    Exact for any ranks. ``start`` is a fresh adapter, with which everyone goes on.
    """
    folded = {layer: _as(a, *stacked(target(updates, layer))) for layer, (_, a) in _by_layer(start)}
    return Aggregate(dict(start), folded)


def fedex(updates: Sequence[Update], start: State, scale: float) -> Aggregate:
    """Each tensor's average, and what that lacks of ΔW* into the base (arXiv 2410.09432).

    Exact where all ranks and scales are the server's.
    """
    folded = {
        layer: _as(a, *stacked(residual(updates, layer))) for layer, (_, a) in _by_layer(start)
    }
    return Aggregate(fedavg(updates, start, scale).state, folded)


def hetlora(updates: Sequence[Update], start: State, scale: float) -> Aggregate:
    """The average of factors padded with zeros to one rank (arXiv 2401.06432).

    In place of p_i stands ‖ΔW_i‖_F as a share of their sum. The paper writes it for one matrix, so
    it is taken layer by layer. Where all are zero, p_i stays. B_i is brought to the server's scale.
    """
    state = {}
    for layer, (_, a) in _by_layer(start):
        pairs = [_factors(u, layer) for u in updates]
        norms = [u.scale * norm(pair) for u, pair in zip(updates, pairs, strict=True)]
        shares = _shares(norms if any(norms) else [u.weight for u in updates])
        rank = max(len(one_a) for _, one_a in pairs)
        sums = 0, 0
        for share, u, (one_b, one_a) in zip(shares, updates, pairs, strict=True):
            missing = rank - len(one_a)
            wide_b, wide_a = pad(one_b, (0, missing)), pad(one_a, (0, 0, 0, missing))
            factor = share * u.scale / scale
            sums = sums[0] + factor * wide_b.double(), sums[1] + share * wide_a.double()
        state |= _named(layer, sums, a)
    return Aggregate(state)


AGGREGATIONS: dict[str, Callable[[Sequence[Update], State, float], Aggregate]] = {
    "fedavg": fedavg,
    "flexlora": flexlora,
    "flora": flora,
    "fedex": fedex,
    "ffa": fedavg,
    "rolora": fedavg,
    "hetlora": hetlora,
}
"""By name: the clients' updates, the adapter that the server holds, and its scale s."""


def cut(state: State, rank: int, scale: float, to: float) -> State:
    """What a client of a smaller rank gets: the leading components, at its own scale.

    Args:
        state: the server's adapter, or one factor of it; other tensors stay as they are.
        rank: the client's rank.
        scale: the server's scale.
        to: the client's.
    """
    kept = dict(state)
    for name, value in state.items():
        if name.endswith(A):
            kept[name] = value[:rank]
        elif name.endswith(B):
            kept[name] = value[:, :rank] * (scale / to)
    return kept


def stack(state: State, scale: float, folded: Sequence[dict[str, Factors]]) -> dict[str, Factors]:
    """An adapter and all that went into the base, as one pair of factors a layer; exact.

    No rank is above min(d, k): where the factors side by side are wider, they are decomposed.
    """
    whole = {}
    for layer, (b, a) in _by_layer(state):
        terms = [(1.0, *each[layer]) for each in folded if layer in each] + [(scale, b, a)]
        most = min(len(b), a.shape[1])
        wide = sum(len(a_i) for _, _, a_i in terms) > most
        whole[layer] = _as(a, *(truncate(terms, most) if wide else stacked(terms)))
    return whole


def layers(state: State) -> list[str]:
    """The layers of which both factors are there."""
    found = [name.removesuffix(A) for name in state if name.endswith(A)]
    return [layer for layer in found if layer + B in state]


def target(updates: Sequence[Update], layer: str) -> Terms:
    """ΔW*."""
    shares = _shares([u.weight for u in updates])
    return [(p * u.scale, *_factors(u, layer)) for p, u in zip(shares, updates, strict=True)]


def residual(updates: Sequence[Update], layer: str) -> Terms:
    """ΔW* − s B̄ Ā = Σ p_i s (B_i − B̄)(A_i − Ā); ranks and scales must be equal."""
    b, a = mean(updates, layer + B), mean(updates, layer + A)
    return [(w, b_i - b, a_i - a) for w, b_i, a_i in target(updates, layer)]


def mean(updates: Sequence[Update], name: str) -> Tensor:
    """Σ p_i of a tensor, in float64."""
    shares = _shares([u.weight for u in updates])
    return sum(p * u.state[name].double() for p, u in zip(shares, updates, strict=True))


def stacked(terms: Terms) -> Factors:
    """The terms' factors side by side, in float64: B (d, R) and A (R, k) with R = Σ r_i."""
    return _beside(terms), _below(terms)


def core(terms: Terms) -> tuple[Tensor, Tensor, Tensor]:
    """R_b and R_a of B = Q_b R_b and Aᵀ = Q_a R_a, and R_b R_aᵀ, with the singular values of ΔW."""
    r_b = torch.linalg.qr(_beside(terms), mode="r").R
    r_a = torch.linalg.qr(_below(terms).T, mode="r").R
    return r_b, r_a, r_b @ r_a.T


def norm(factors: Factors) -> float:
    """‖B A‖_F from products of the size of the rank."""
    b, a = (m.double() for m in factors)
    return math.sqrt(max(0.0, float(((b.T @ b) * (a @ a.T)).sum())))


def truncate(terms: Terms, rank: int) -> Factors:
    """The best approximation of ΔW with at most so many components; fewer where it has fewer.

    With R_b R_aᵀ = U S Vᵀ, neither Q is needed: Q_b U S = B R_aᵀ V and S Vᵀ Q_aᵀ = Uᵀ R_b A.
    O((d + k) R² + R³) for R = Σ r_i.

    Returns:
        Q_b U √S and √S Vᵀ Q_aᵀ in float64, in falling order. In each row of the second the largest
        number is positive, as signs are otherwise the linear algebra library's choice.
    """
    r_b, r_a, small = core(terms)
    u, s, vt = torch.linalg.svd(small, full_matrices=False)
    noise = s[:1] * max(len(terms[0][1]), terms[0][2].shape[1]) * torch.finfo(s.dtype).eps
    found = int((s[:rank] > noise).sum())
    root = s[:found].sqrt()
    b = _beside(terms) @ (r_a.T @ (vt[:found].T / root))
    a = (u[:, :found] / root).T @ r_b @ _below(terms)
    signs = a.gather(1, a.abs().argmax(dim=1, keepdim=True)).sign()
    return b * signs.T, a * signs


def _by_layer(state: State) -> Iterable[tuple[str, Factors]]:
    return ((layer, (state[layer + B], state[layer + A])) for layer in layers(state))


def _factors(update: Update, layer: str) -> Factors:
    return update.state[layer + B], update.state[layer + A]


def _beside(terms: Terms) -> Tensor:
    whole = _precisely([b for _, b, _ in terms], 1)
    widths = [b.shape[1] for _, b, _ in terms]
    for part, (w, _, _) in zip(whole.split(widths, dim=1), terms, strict=True):
        part.mul_(w)
    return whole


def _below(terms: Terms) -> Tensor:
    return _precisely([a for _, _, a in terms], 0)


def _precisely(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Joined in float64, without a copy of the parts."""
    return torch.cat(tensors, dim, out=tensors[0].new_empty(0, dtype=torch.float64))


def _as(like: Tensor, b: Tensor, a: Tensor) -> Factors:
    return b.to(like), a.to(like)


def _named(layer: str, factors: Factors, a: Tensor) -> State:
    """Both factors by name, at the rank of the server's ``a``: zeros in B, rows of ``a`` in A.

    With zeros in both, a component would never learn again: the gradient of either factor is a
    multiple of the other.
    """
    new_b, new_a = factors
    rank = len(new_a)
    new_b, new_a = pad(new_b, (0, len(a) - rank)), torch.cat([new_a, a[rank:].to(new_a)])
    return {layer + A: new_a.to(a), layer + B: new_b.to(a)}


def _shares(weights: Sequence[float]) -> list[float]:
    total = math.fsum(weights)
    return [weight / total for weight in weights]

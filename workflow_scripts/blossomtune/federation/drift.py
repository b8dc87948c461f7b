"""How far plain averaging of factors is from the clients' average update, layer by layer."""

from collections.abc import Sequence

import torch

from blossomtune.federation import aggregation
from blossomtune.federation.aggregation import A, Update


def drift(updates: Sequence[Update], rank: int) -> dict[str, dict[str, float | None]]:
    """Compares ΔW* = Σ p_i s_i B_i A_i with what an adapter of the server's rank can hold.

    Args:
        updates: the clients' answers, both factors each.
        rank: the server's.

    Returns:
        By layer ``norm``: ‖ΔW*‖_F; ``average``: ‖ΔW* − s B̄ Ā‖_F as a share of it, None where
        ranks or scales differ; ``best``: the same for the best approximation of the server's rank.
        Six digits; 0 for shares below the precision of float32, and where ΔW* is zero.
    """
    return {
        _short(layer): _layer(updates, layer, rank)
        for layer in aggregation.layers(updates[0].state)
    }


def _layer(updates: Sequence[Update], layer: str, rank: int) -> dict[str, float | None]:
    spectrum = torch.linalg.svdvals(aggregation.core(aggregation.target(updates, layer))[-1])
    norm = float(spectrum.norm())
    average = None
    if len({(u.scale, len(u.state[layer + A])) for u in updates}) == 1:
        lost = aggregation.core(aggregation.residual(updates, layer))[-1]
        average = _share(float(lost.norm()), norm)
    best = _share(float(spectrum[rank:].norm()), norm)
    return {"norm": _rounded(norm), "average": average, "best": best}


def _share(part: float, whole: float) -> float:
    share = part / whole if whole else 0.0
    return _rounded(share) if share > torch.finfo(torch.float32).eps else 0.0


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _short(layer: str) -> str:
    """A layer's name without the wrappings that PEFT and transformers put around every one."""
    return layer.removeprefix("base_model.model.").removeprefix("model.")

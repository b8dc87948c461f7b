"""How far plain averaging of factors is from the clients' average update, layer by layer."""

from collections.abc import Sequence

import torch

from blossomtune.aggregation import client_updates, layers, low_rank
from blossomtune.aggregation.types import LORA_A_SUFFIX, ClientUpdate


def measure_drift(updates: Sequence[ClientUpdate], rank: int) -> dict[str, dict[str, float | None]]:
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
        _strip_prefixes(layer): _measure_layer(updates, layer, rank)
        for layer in layers.list_layers(updates[0].state)
    }


def _measure_layer(
    updates: Sequence[ClientUpdate], layer: str, rank: int
) -> dict[str, float | None]:
    spectrum = torch.linalg.svdvals(
        low_rank.compute_qr_core(client_updates.mean_update(updates, layer))[-1]
    )
    norm = float(spectrum.norm())
    average = None
    if len({(u.scale, len(u.state[layer + LORA_A_SUFFIX])) for u in updates}) == 1:
        lost = low_rank.compute_qr_core(client_updates.residual_update(updates, layer))[-1]
        average = _compute_ratio(float(lost.norm()), norm)
    best = _compute_ratio(float(spectrum[rank:].norm()), norm)
    return {"norm": _round_significant(norm), "average": average, "best": best}


def _compute_ratio(part: float, whole: float) -> float:
    share = part / whole if whole else 0.0
    return _round_significant(share) if share > torch.finfo(torch.float32).eps else 0.0


def _round_significant(value: float) -> float:
    return float(f"{value:.6g}")


def _strip_prefixes(layer: str) -> str:
    """A layer's name without the wrappings that PEFT and transformers put around every one."""
    return layer.removeprefix("base_model.model.").removeprefix("model.")

"""Measure what aggregation loses of the clients' mean update, per layer."""

from collections.abc import Sequence

import torch

from blossomtune.aggregation.client_updates import mean_update, normalize_weights
from blossomtune.aggregation.layers import list_layers
from blossomtune.aggregation.low_rank import compute_qr_core
from blossomtune.aggregation.types import LORA_A_SUFFIX, ClientUpdate
from blossomtune.artifacts.round_record import LayerDrift


def measure_drift(updates: Sequence[ClientUpdate], rank: int) -> dict[str, LayerDrift]:
    """Compare ΔW* = Σ p_i s_i B_i A_i with adapters of the server's rank.

    Args:
        updates: One update per client, with both factors.
        rank: The server's rank.

    Returns:
        Drift by layer, with six significant digits. ``norm`` is ‖ΔW*‖_F. ``average`` is
        ‖ΔW* − s B̄ Ā‖_F / ‖ΔW*‖_F, or None if ranks or scalings differ. ``best`` is the same for
        the best approximation of the server's rank. Ratios below float32's precision are 0.
    """
    return {
        layer.removeprefix("base_model.model.").removeprefix("model."): _measure_layer(
            updates, layer, rank
        )
        for layer in list_layers(updates[0].state)
    }


def _measure_layer(updates: Sequence[ClientUpdate], layer: str, rank: int) -> LayerDrift:
    r_b, r_a, core = compute_qr_core(mean_update(updates, layer))
    singular_values = torch.linalg.svdvals(core)
    norm = float(singular_values.norm())
    average = None
    if len({(u.scale, len(u.state[layer + LORA_A_SUFFIX])) for u in updates}) == 1:
        # Q_bᵀ s B̄ and Q_aᵀ Āᵀ: r_b has the blocks p_i s Q_bᵀ B_i, and r_a the blocks Q_aᵀ A_iᵀ.
        weights = torch.tensor(normalize_weights([u.weight for u in updates]), dtype=r_a.dtype)
        mean_b = r_b.reshape(len(r_b), len(updates), -1).sum(1)
        mean_a = torch.einsum("i,kir->kr", weights, r_a.reshape(len(r_a), len(updates), -1))
        average = _compute_ratio(float((core - mean_b @ mean_a.T).norm()), norm)
    best = _compute_ratio(float(singular_values[rank:].norm()), norm)
    return LayerDrift(norm=_round_significant(norm), average=average, best=best)


def _compute_ratio(part: float, whole: float) -> float:
    ratio = part / whole if whole else 0.0
    return _round_significant(ratio) if ratio > torch.finfo(torch.float32).eps else 0.0


def _round_significant(value: float) -> float:
    return float(f"{value:.6g}")

"""Measure what aggregation loses of the clients' mean update, per layer."""

from collections.abc import Sequence

import torch

from blossomtune.aggregation.client_updates import mean_update, residual_update
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
    singular_values = torch.linalg.svdvals(compute_qr_core(mean_update(updates, layer))[-1])
    norm = float(singular_values.norm())
    average = None
    if len({(u.scale, len(u.state[layer + LORA_A_SUFFIX])) for u in updates}) == 1:
        residual = compute_qr_core(residual_update(updates, layer))[-1]
        average = _compute_ratio(float(residual.norm()), norm)
    best = _compute_ratio(float(singular_values[rank:].norm()), norm)
    return LayerDrift(norm=_round_significant(norm), average=average, best=best)


def _compute_ratio(part: float, whole: float) -> float:
    ratio = part / whole if whole else 0.0
    return _round_significant(ratio) if ratio > torch.finfo(torch.float32).eps else 0.0


def _round_significant(value: float) -> float:
    return float(f"{value:.6g}")

"""Layers of a LoRA adapter: their factors, and changes of their rank."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch.nn.functional import pad

from blossomtune.aggregation.low_rank import cast_factors, stack_factors, truncated_svd
from blossomtune.aggregation.types import LORA_A_SUFFIX, LORA_B_SUFFIX, Factors
from blossomtune.named_tensors import StateDict


def list_layers(state: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the layers that have both factors in a state."""
    layers = [name.removesuffix(LORA_A_SUFFIX) for name in state if name.endswith(LORA_A_SUFFIX)]
    return [layer for layer in layers if layer + LORA_B_SUFFIX in state]


def get_factors(state: Mapping[str, torch.Tensor], layer: str) -> Factors:
    """Look up both factors of a layer.

    Args:
        state: An adapter.
        layer: Name of the layer.

    Returns:
        B (d, r) and A (r, k).
    """
    return state[layer + LORA_B_SUFFIX], state[layer + LORA_A_SUFFIX]


def iter_factors(state: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, Factors]]:
    """Yield each layer's name with its factors B (d, r) and A (r, k)."""
    for layer in list_layers(state):
        yield layer, get_factors(state, layer)


def truncate_rank(
    state: StateDict, rank: int, server_scale: float, client_scale: float
) -> StateDict:
    """Truncate an adapter to its leading components, for a client of smaller rank.

    Args:
        state: The server's adapter, or one factor of it. Other tensors are returned unchanged.
        rank: The client's rank.
        server_scale: The server's LoRA scaling.
        client_scale: The client's LoRA scaling. B is multiplied by the ratio of both.

    Returns:
        Tensors with the names of ``state``: A (rank, k) and B (d, rank).
    """
    truncated = dict(state)
    for name, value in state.items():
        if name.endswith(LORA_A_SUFFIX):
            truncated[name] = value[:rank]
        elif name.endswith(LORA_B_SUFFIX):
            truncated[name] = value[:, :rank] * (server_scale / client_scale)
    return truncated


def pad_rank(layer: str, factors: Factors, server_a: torch.Tensor) -> StateDict:
    """Pad a layer's factors to the server's rank: B with zeros, A with the server's rows.

    With zeros in both, a component would get no gradient, since the gradient of either factor is
    a multiple of the other.

    Args:
        layer: Name of the layer.
        factors: B (d, r) and A (r, k) with r at most the server's rank.
        server_a: The server's A, which also gives rank, dtype and device of the result.

    Returns:
        Both factors by tensor name.
    """
    b, a = factors
    rank = len(a)
    b = pad(b, (0, len(server_a) - rank))
    a = torch.cat([a, server_a[rank:].to(a)])
    return {layer + LORA_A_SUFFIX: a.to(server_a), layer + LORA_B_SUFFIX: b.to(server_a)}


def stack_base_deltas(
    state: StateDict, scale: float, base_deltas: Sequence[dict[str, Factors]]
) -> dict[str, Factors]:
    """Combine an adapter and all updates of the base weights exactly, per layer.

    Args:
        state: The adapter.
        scale: LoRA scaling of the adapter.
        base_deltas: Updates B A of the base weights, by layer.

    Returns:
        Factors of the total update by layer, with rank at most min(d, k).
    """
    total = {}
    for layer, (b, a) in iter_factors(state):
        terms = [(1.0, *deltas[layer]) for deltas in base_deltas if layer in deltas]
        terms.append((scale, b, a))
        max_rank = min(len(b), a.shape[1])
        is_wide = sum(len(a_i) for _, _, a_i in terms) > max_rank
        stacked = truncated_svd(terms, max_rank) if is_wide else stack_factors(terms)
        total[layer] = cast_factors(stacked, a)
    return total

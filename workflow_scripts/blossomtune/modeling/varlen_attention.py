"""Attention of many segments in one kernel for sequences of different lengths (CUDA, ROCm).

The kernel is FlashAttention's (arXiv 2307.08691), from the package ``flash_attn`` if it is
installed, otherwise torch's own.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from blossomtune.modeling.segments import Segment

MAX_HEAD_DIM = 256


class VarlenLayout:
    """Positions of queries and keys of all segments, in a row of B × W tokens.

    Args:
        segments: Segments of the rows.
        width: W, tokens per row.
        device: Device of the attention.
    """

    def __init__(self, segments: Sequence[Segment], width: int, device: torch.device) -> None:
        queries, keys = [], []
        for row, start, end, prefix in segments:
            first = row * width
            own = torch.arange(first + start, first + end)
            queries.append(own)
            keys.append(torch.cat([torch.arange(first, first + prefix), own]))
        self.queries, self.keys = (torch.cat(parts).to(device) for parts in (queries, keys))
        self.query_offsets, self.key_offsets = (
            torch.tensor([0, *map(len, parts)]).cumsum(0).int().to(device)
            for parts in (queries, keys)
        )
        self.longest_query, self.longest_key = (max(map(len, parts)) for parts in (queries, keys))


def is_available(query: Tensor, value: Tensor, dropout: float) -> bool:
    """Return whether a kernel takes these tensors.

    Args:
        query: (B, heads, W, D).
        value: (B, key-value heads, W, D).
        dropout: Probability of dropout in the attention.

    Returns:
        Whether ``attend_varlen`` may be called.
    """
    is_half = query.dtype in (torch.float16, torch.bfloat16)
    fits = query.shape[-1] == value.shape[-1] <= MAX_HEAD_DIM
    return query.is_cuda and is_half and fits and not dropout


def attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, layout: VarlenLayout, scaling: float | None
) -> Tensor:
    """Compute causal attention within segments and to their prefixes.

    A query is aligned with the last keys of its segment, so that all see the prefix.

    Args:
        query: (B, heads, W, D).
        key: (B, key-value heads, W, D).
        value: As ``key``.
        layout: Positions of the segments.
        scaling: Factor of the scores, or None for 1 / √D.

    Returns:
        (B, W, heads, D), zeros at padding.
    """
    batch, heads, width, head_dim = query.shape
    q, k, v = (
        states.transpose(1, 2).flatten(0, 1)[positions]
        for states, positions in (
            (query, layout.queries),
            (key, layout.keys),
            (value, layout.keys),
        )
    )
    offsets = (layout.query_offsets, layout.key_offsets)
    longest = (layout.longest_query, layout.longest_key)
    if find_spec("flash_attn"):
        result = import_module("flash_attn").flash_attn_varlen_func(
            q, k, v, *offsets, *longest, softmax_scale=scaling, causal=True
        )
    else:
        from torch.nn.attention.varlen import varlen_attn

        result = varlen_attn(
            q, k, v, *offsets, *longest, scale=scaling, window_size=(-1, 0), enable_gqa=True
        )
    rows = q.new_zeros((batch * width, heads, head_dim))
    return rows.index_copy(0, layout.queries, result).view(batch, width, heads, head_dim)

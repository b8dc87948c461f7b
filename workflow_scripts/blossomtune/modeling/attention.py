"""Attention over rows of several examples without a mask of W × W scores.

The attention of each segment is computed by itself: on CUDA and ROCm by one kernel for all,
elsewhere by one call of torch's attention per segment. Transformers hands masks of four dimensions
to each layer unchanged, so segments reach this attention as a mask of shape (B, 1, 1, W). All other
masks mean what they mean to transformers' ``sdpa``.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from blossomtune.modeling import prefix_sharing
from blossomtune.modeling.architecture import get_base_model, list_layer_types
from blossomtune.modeling.segments import PADDING_SEGMENT, Segment, list_segments
from blossomtune.modeling.short_attention import attend_short, is_faster
from blossomtune.modeling.varlen_attention import VarlenLayout, attend_varlen, is_available

IMPLEMENTATION = "segments"
"""Name in transformers' registry."""

DENSE_WIDTH = 768
"""Longest row with a dense mask. One call is faster than many on short segments."""

BLOCK = 1024
"""Queries per call where a segment also attends to a prefix."""

_SEGMENT_LISTS: Any = WeakTensorKeyDictionary()
_LAYOUTS: Any = WeakTensorKeyDictionary()
_SUPPORT_CACHE: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute attention within segments; without segments, as ``sdpa`` of transformers does.

    Args:
        module: Attention layer.
        query: (B, heads, W, D).
        key: (B, key-value heads, W, D).
        value: As ``key``.
        attention_mask: Segments, (B, 1, 1, W) int64, or any mask of ``sdpa``.
        dropout: Probability of dropout.
        scaling: Factor of the scores.
        **kwargs: More arguments of ``sdpa``.

    Returns:
        (B, W, heads, D), and no attention weights.
    """
    arguments = {"dropout": dropout, "scaling": scaling, **kwargs}
    if attention_mask is None or attention_mask.dtype != torch.int64:
        if attention_mask is not None and is_faster(query, key, attention_mask, dropout):
            return attend_short(query, key, value, attention_mask, scaling), None
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **arguments
        )
        return plain
    segments = _get_segments(attention_mask)
    if is_available(query, value, dropout):
        if attention_mask not in _LAYOUTS:
            _LAYOUTS[attention_mask] = VarlenLayout(segments, query.shape[2], query.device)
        return attend_varlen(query, key, value, _LAYOUTS[attention_mask], scaling), None

    def attend_part(segment: Segment, start: int, end: int) -> Tensor:
        """Return the attention of the queries from start to end of a segment."""
        row, prefix = slice(segment.row, segment.row + 1), segment.prefix
        q = query[row, :, start:end]
        k, v = (states[row, :, segment.start : end] for states in (key, value))
        mask = None
        if prefix:
            k = torch.cat([key[row, :, :prefix], k], dim=2)
            v = torch.cat([value[row, :, :prefix], v], dim=2)
            shape = (end - start, k.shape[2])
            visible = torch.ones(shape, dtype=torch.bool, device=query.device)
            mask = visible.tril(prefix + start - segment.start)[None, None]
        result: Tensor = sdpa_attention_forward(module, q, k, v, mask, **arguments)[0]
        return result

    rows = []
    for row in range(len(query)):
        of_row = [segment for segment in segments if segment.row == row]
        start = of_row[0].start  # after padding
        parts = [query.new_zeros((1, start, query.shape[1], value.shape[-1]))]
        for segment in of_row:
            size = BLOCK if segment.prefix else segment.end - segment.start
            for first in range(segment.start, segment.end, size):
                parts.append(attend_part(segment, first, min(first + size, segment.end)))
        rows.append(torch.cat(parts, dim=1))
    return torch.cat(rows), None


AttentionInterface.register(IMPLEMENTATION, attend)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)


def _get_segments(mask: Tensor) -> list[Segment]:
    """Return the segments of a mask, listed once per forward pass rather than per layer."""
    if mask not in _SEGMENT_LISTS:
        _SEGMENT_LISTS[mask] = list_segments(mask[:, 0, 0])
    segments: list[Segment] = _SEGMENT_LISTS[mask]
    return segments


def enable(model: Any) -> None:
    """Let a model compute attention with ``attend`` if it uses ``sdpa`` from the registry."""
    if model.config._attn_implementation == "sdpa" and model._can_set_attn_implementation():
        model.set_attn_implementation(IMPLEMENTATION)


def is_supported(model: Any) -> bool:
    """Return whether segments as a mask reach the attention of a model, tested once.

    Args:
        model: A causal language model, with or without an adapter.

    Returns:
        Whether ``_pack_mask`` may be used.
    """
    if model.config.get_text_config()._attn_implementation != IMPLEMENTATION:
        return False
    base = get_base_model(model)
    if base not in _SUPPORT_CACHE:
        _SUPPORT_CACHE[base] = prefix_sharing.matches_separate_rows(model, _pack_mask)
    return _SUPPORT_CACHE[base]


def _pack_mask(segments: Tensor) -> Tensor:
    return segments[:, None, None]


def build_segment_mask(model: Any, segments: Tensor) -> Tensor:
    """Return a mask that separates the segments of rows.

    Args:
        model: The model that reads it.
        segments: (B, W) int64.

    Returns:
        (B, 1, 1, W) int64 for long rows, otherwise (B, 1, W, W) of the model's dtype.
    """
    if segments.shape[1] > DENSE_WIDTH and is_supported(model):
        return _pack_mask(segments)
    return prefix_sharing.build_attention_mask(segments, model.dtype)


def build_padding_mask(model: Any, attention_mask: Tensor) -> Tensor:
    """Return a mask that hides padding, which transformers would expand to W × W.

    Args:
        model: The model that reads it.
        attention_mask: (B, W) int64, 0 for padding on the left.

    Returns:
        (B, 1, 1, W) int64 for long padded rows of models without windows or other layers,
        otherwise the same mask.
    """
    is_long = attention_mask.shape[1] > DENSE_WIDTH and not bool(attention_mask.all())
    has_plain_layers = list_layer_types(model.config) == {"full_attention"}
    if is_long and has_plain_layers and is_supported(model):
        return _pack_mask(attention_mask.masked_fill(attention_mask == 0, PADDING_SEGMENT))
    return attention_mask

"""Attention of short rows as plain matrix products, for training in bfloat16 on a CPU.

PyTorch's attention on CPUs multiplies small blocks. In bfloat16 its backward pass takes twice the
time of a few large products, which need memory for all W × W scores.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORT_WIDTH = 512
"""Longest row. Scores of more tokens need more memory than the rest of a layer."""


def is_faster(query: Tensor, key: Tensor, mask: Tensor, dropout: float = 0.0) -> bool:
    """Return whether ``attend_short`` applies and is faster than PyTorch's attention.

    Args:
        query: (B, heads, W, D).
        key: (B, key-value heads, W, D).
        mask: Mask as in ``attend_short``.
        dropout: Probability of dropout.

    Returns:
        Whether this is a short row that is trained in bfloat16 on a CPU.
    """
    is_trained = query.requires_grad and torch.is_grad_enabled()
    is_plain = not dropout and not torch.is_autocast_enabled("cpu")
    width = query.shape[2]
    is_short = width <= SHORT_WIDTH and mask.shape[-2:] == (width, width) and mask.dim() == 4
    is_bfloat16 = query.dtype == torch.bfloat16 and query.device.type == "cpu"
    return is_trained and is_plain and is_short and is_bfloat16


def attend_short(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None
) -> Tensor:
    """Compute attention. Scores are rounded to the dtype of the query.

    Args:
        query: (B, heads, W, D).
        key: (B, key-value heads, W, D).
        value: (B, key-value heads, W, D').
        mask: (B or 1, 1, W, W), bool with True for visible keys, or a float to add to the scores.
        scaling: Factor of the scores, 1/√D by default.

    Returns:
        (B, W, heads, D').
    """
    factor = query.shape[3] ** -0.5 if scaling is None else scaling
    output: Tensor = _ShortAttention.apply(query, key, value, mask, factor)  # type: ignore[no-untyped-call]
    return output


class _ShortAttention(torch.autograd.Function):
    """The queries of all heads that share a key are rows of one product."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float
    ) -> Tensor:
        batch, heads, width, _ = query.shape
        q = (query * scaling).reshape(batch * key.shape[1], -1, query.shape[3])
        k, v = key.flatten(0, 1), value.flatten(0, 1)
        scores = torch.bmm(q, k.mT).view(batch, heads, width, width)
        lowest = torch.finfo(query.dtype).min  # not -inf, of which a masked row would become NaN
        if mask.dtype == torch.bool:
            scores.masked_fill_(~mask, lowest)
        else:
            scores.add_(mask.to(query.dtype).clamp_(min=lowest))
        weights = torch.softmax(scores, dim=-1).view(len(q), -1, width)
        ctx.save_for_backward(q, k, v, weights)
        ctx.shapes, ctx.scaling = (query.shape, key.shape, value.shape), scaling
        return torch.bmm(weights, v).view(batch, heads, width, -1).transpose(1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights = ctx.saved_tensors
        query_shape, key_shape, value_shape = ctx.shapes
        grad = grad.transpose(1, 2).reshape(len(q), -1, grad.shape[-1])
        grad_v = torch.bmm(weights.mT, grad)
        grad_weights = torch.bmm(grad, v.mT)
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        grad_q = torch.bmm(grad_scores, k).mul_(ctx.scaling)
        grad_k = torch.bmm(grad_scores.mT, q)
        return (
            grad_q.view(query_shape),
            grad_k.view(key_shape),
            grad_v.view(value_shape),
            None,
            None,
        )

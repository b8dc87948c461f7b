"""Bound the norms of updates (arXiv 1911.07963)."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def compute_distance(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """Compute the L2 norm of the difference of two states, in float64.

    Args:
        first: Tensors by name.
        second: Tensors of the same names and shapes.

    Returns:
        The norm over all tensors.
    """
    differences = (first[name].double() - second[name].double() for name in second)
    return math.sqrt(sum(float(torch.sum(value * value)) for value in differences))


def require_norm(what: str, norm: float, max_norm: float) -> None:
    """Raise if a norm is too large.

    Args:
        what: What has the norm, for the message.
        norm: The norm.
        max_norm: Its limit.

    Raises:
        ValueError: If it is.
    """
    if norm > max_norm:
        raise ValueError(
            f"{what} has a norm of {norm:.3g}, and federation.max_update_norm allows {max_norm:.3g}"
        )

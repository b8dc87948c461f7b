"""Decide whether the server accepts the adapter of a round."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from blossomtune.artifacts.round_record import LayerDrift, ServerEvaluation


def find_non_finite_value(
    drift: Mapping[str, LayerDrift] | None, tensors: Iterable[tuple[str, Tensor]]
) -> str | None:
    """Find a reason to drop the result of an aggregation.

    Args:
        drift: Distances between the clients' updates by layer, if they were measured.
        tensors: Names and tensors of the result.

    Returns:
        The reason; None if all values are finite.
    """
    for layer, distances in (drift or {}).items():
        if not all(math.isfinite(value or 0) for value in distances.model_dump().values()):
            return f"the clients' updates of {layer} are too large to be compared"
    for name, tensor in tensors:
        if not torch.isfinite(tensor).all():
            return f"the aggregated {name} holds values that are not finite"
    return None


def find_non_finite_loss(evaluation: ServerEvaluation | None) -> str | None:
    """Find a reason to drop an adapter in the server's evaluation.

    Args:
        evaluation: The evaluation, if there is one.

    Returns:
        The reason; None if loss and perplexity are finite.
    """
    if evaluation is None or math.isfinite(evaluation.loss + evaluation.perplexity):
        return None
    return f"the held-out loss is {evaluation.loss:g}"

"""FedProx: penalize the distance to the global adapter (arXiv 1812.06127)."""

from collections.abc import Mapping

import torch
from torch import Tensor


def compute_proximal_term(
    parameters: Mapping[str, Tensor], global_parameters: Mapping[str, Tensor], mu: float
) -> Tensor:
    """Compute μ/2 ‖w − w_global‖².

    Args:
        parameters: Trained parameters w by name.
        global_parameters: Parameters w_global that the round started from, with the same names.
        mu: Weight μ of the term.

    Returns:
        Scalar that gradients flow through.
    """
    distances = [(p - global_parameters[name]).square().sum() for name, p in parameters.items()]
    device = distances[0].device  # a base may be spread over several GPUs
    return mu / 2 * torch.stack([distance.to(device) for distance in distances]).sum()

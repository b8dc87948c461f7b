"""Select the device of the server's evaluation."""

import logging

import torch

from blossomtune.config.federation import count_clients_per_gpu
from blossomtune.federation.run import FederatedRun
from blossomtune.modeling.devices import get_total_memory
from blossomtune.modeling.load import parse_dtype
from blossomtune.modeling.placement import compute_weight_bytes

logger = logging.getLogger(__name__)

MEMORY_MARGIN = 1.25
"""Factor on the size of weights, for activations and the library's own memory."""


def select_evaluation_device(run: FederatedRun) -> torch.device:
    """Return the device of the clients, or the CPU if the server's base does not fit beside theirs.

    The server evaluates while no client trains, but clients keep their bases in memory.

    Args:
        run: The run.

    Returns:
        The device. It depends on the GPU's size only, not on what is free now.
    """
    device = torch.device(run.resources.device)
    # MPS shares the memory of the CPU
    if device.type not in ("cuda", "xpu") or not run.spec.federation.evaluate_rows:
        return device
    share = run.resources.gpus_per_client
    num_bases = 1 + (
        1 / share if share > 1 else min(len(run.spec.clients), count_clients_per_gpu(share))
    )
    base_bytes = compute_weight_bytes(run.paths.model, parse_dtype(run.spec.training.base_dtype))
    needed, total = MEMORY_MARGIN * num_bases * base_bytes, get_total_memory(device)
    if needed <= total:
        return device
    logger.warning(
        "the server evaluates on the CPU: %.3g bases of %.1f GB, those of clients included, need "
        "%.1f of %.1f GB of the GPU; with evaluate_rows: 0, and fraction_evaluate, clients do it",
        num_bases,
        base_bytes / 1e9,
        needed / 1e9,
        total / 1e9,
    )
    return torch.device("cpu")

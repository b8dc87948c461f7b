"""Batches that fit into memory, without another meaning of a step."""

from copy import copy

import torch
from trl import SFTConfig


def is_out_of_memory_error(error: Exception) -> bool:
    """Whether an error says that memory has run out, on a GPU or on the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "can't allocate memory" in str(error) or "ALLOC_FAILED" in str(error)


def reduce_batch_size(config: SFTConfig) -> SFTConfig | None:
    """The same optimizer steps in smaller batches, and more of them.

    A batch becomes its largest proper divisor, so half of itself where it is even.

    Returns:
        A changed copy; None where a batch is a single example already.
    """
    batch = config.per_device_train_batch_size
    if batch == 1:
        return None
    less = copy(config)
    less.per_device_train_batch_size = max(n for n in range(1, batch) if batch % n == 0)
    parts = batch // less.per_device_train_batch_size
    less.gradient_accumulation_steps = config.gradient_accumulation_steps * parts
    return less

"""Retry training with smaller batches when memory runs out."""

import gc
from collections.abc import Callable
from copy import copy
from typing import TypeVar

import torch
from trl import SFTConfig

from blossomtune.errors import UserError
from blossomtune.modeling import devices

Result = TypeVar("Result")


def retry_with_smaller_batches(
    train: Callable[[SFTConfig], Result], reset: Callable[[], None], config: SFTConfig
) -> Result:
    """Train, and start over with smaller batches if memory runs out.

    An optimizer step keeps its rows: smaller batches are accumulated. The option of the same name
    in transformers would continue with smaller steps instead.

    Args:
        train: Function that trains with a config.
        reset: Function that undoes a failed attempt.
        config: Config of the first attempt. Without ``auto_find_batch_size`` it is the only one.

    Returns:
        Result of the attempt that succeeded.

    Raises:
        UserError: If memory runs out with the smallest batch that is allowed.
    """
    while True:
        try:
            return train(config)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory_error(error):
                raise
            smaller = reduce_batch_size(config) if config.auto_find_batch_size else None
            if smaller is None:
                raise UserError(
                    f"out of memory with {config.per_device_train_batch_size} examples at a time",
                    "training.arguments.auto_find_batch_size and gradient_checkpointing need less",
                ) from error
        # Memory of the failed attempt is free only outside of ``except``.
        gc.collect()
        devices.empty_cache()
        config = smaller
        reset()


def is_out_of_memory_error(error: Exception) -> bool:
    """Return whether an error means that GPU or host memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "can't allocate memory" in str(error) or "ALLOC_FAILED" in str(error)


def reduce_batch_size(config: SFTConfig) -> SFTConfig | None:
    """Reduce the batch size to its largest proper divisor, with the same optimizer steps.

    Args:
        config: Config to copy.

    Returns:
        A copy with more accumulation steps, or None if a batch is a single example.
    """
    batch_size = config.per_device_train_batch_size
    if batch_size == 1:
        return None
    smaller = copy(config)
    divisor = max(n for n in range(1, batch_size) if batch_size % n == 0)
    smaller.per_device_train_batch_size = divisor
    smaller.gradient_accumulation_steps = config.gradient_accumulation_steps * (
        batch_size // divisor
    )
    return smaller

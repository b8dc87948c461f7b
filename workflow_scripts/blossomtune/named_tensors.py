"""Add, strip and copy tensors by parameter name."""

from collections.abc import Mapping

import torch
from torch import Tensor

StateDict = dict[str, Tensor]
"""Tensors by name; those of an adapter have PEFT's parameter names."""


def add_prefix(prefix: str, state: Mapping[str, Tensor]) -> StateDict:
    """Return the tensors with ``prefix/`` before their names.

    Args:
        prefix: Text before the slash.
        state: Tensors by name.

    Returns:
        The same tensors by longer names.
    """
    return {f"{prefix}/{name}": value for name, value in state.items()}


def strip_prefix(prefix: str, state: Mapping[str, Tensor]) -> StateDict:
    """Return the tensors whose names start with ``prefix/``, by their names without it.

    Args:
        prefix: Text before the slash.
        state: Tensors by name.

    Returns:
        The matching tensors by shorter names.
    """
    inner = f"{prefix}/"
    return {n.removeprefix(inner): v for n, v in state.items() if n.startswith(inner)}


def clone_contiguous(state: StateDict) -> StateDict:
    """Return contiguous copies, which safetensors requires."""
    return {n: t.clone(memory_format=torch.contiguous_format) for n, t in state.items()}

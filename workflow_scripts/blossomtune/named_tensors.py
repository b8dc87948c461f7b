"""TODO docstring."""

from collections.abc import Mapping

import torch
from torch import Tensor

StateDict = dict[str, Tensor]
"""Parameters of an adapter by the names that PEFT gives them."""


def add_prefix(prefix: str, state: Mapping[str, Tensor]) -> StateDict:
    """The tensors with ``prefix/`` before their names."""
    return {f"{prefix}/{name}": value for name, value in state.items()}


def strip_prefix(prefix: str, state: Mapping[str, Tensor]) -> StateDict:
    """The tensors whose names begin with ``prefix/``, without it."""
    inner = f"{prefix}/"
    return {n.removeprefix(inner): v for n, v in state.items() if n.startswith(inner)}


def clone_contiguous(state: StateDict) -> StateDict:
    """Copies that lie each by itself in order, as safetensors wants them."""
    return {n: t.clone(memory_format=torch.contiguous_format) for n, t in state.items()}

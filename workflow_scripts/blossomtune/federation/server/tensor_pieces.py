"""Split an adapter into pieces that are aggregated one after another."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import torch
from torch import Tensor

from blossomtune.federation.server.tensor_spool import SpooledState
from blossomtune.named_tensors import StateDict

Piece = dict[str, slice]
"""Elements of flattened tensors, by the tensors' names."""


def split_into_pieces(state: Mapping[str, Tensor], max_elements: int) -> Iterator[Piece]:
    """Split tensors into pieces of limited size, in the order of their names.

    Args:
        state: Tensors by name.
        max_elements: Most elements of a piece.

    Yields:
        Pieces. A tensor that is too large is cut into parts of about the same size.
    """
    piece: Piece = {}
    size = 0
    for name in sorted(state):
        num_elements = state[name].numel()
        num_parts = max(1, -(-num_elements // max_elements))
        bounds = [num_elements * i // num_parts for i in range(num_parts + 1)]
        for start, stop in pairwise(bounds):
            if piece and size + stop - start > max_elements:
                yield piece
                piece, size = {}, 0
            piece[name] = slice(start, stop)
            size += stop - start
    if piece:
        yield piece


def select_piece(state: Mapping[str, Tensor], piece: Piece) -> StateDict:
    """Return the elements of a piece as flat tensors.

    Args:
        state: Tensors by name.
        piece: The piece.

    Returns:
        Tensors with the names of the piece.
    """
    if isinstance(state, SpooledState):
        return {name: state.read_elements(name, elements) for name, elements in piece.items()}
    return {name: state[name].flatten()[elements] for name, elements in piece.items()}


def insert_piece(
    target: StateDict, shapes: Mapping[str, Tensor], piece: Piece, values: Mapping[str, Tensor]
) -> None:
    """Write the elements of a piece into whole tensors, which are created with their first one.

    Args:
        target: Whole tensors by name, to write to.
        shapes: Tensors with the shapes of the whole ones.
        piece: The piece.
        values: Flat tensors of the piece; they give the dtype.
    """
    for name, elements in piece.items():
        if name not in target:
            target[name] = torch.empty(shapes[name].shape, dtype=values[name].dtype)
        target[name].view(-1)[elements] = values[name]

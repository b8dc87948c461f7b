"""Tests of splitting an adapter into pieces."""

import pytest
import torch

from blossomtune.federation.server.tensor_pieces import (
    insert_piece,
    select_piece,
    split_into_pieces,
)

STATE = {"c": torch.randn(7, 3), "a": torch.randn(2), "b": torch.randn(()), "d": torch.randn(4, 25)}


@pytest.mark.parametrize("max_elements", [1, 8, 21, 64, 1000])
def test_pieces_are_small_and_together_the_whole(max_elements):
    pieces = list(split_into_pieces(STATE, max_elements))
    joined = {}
    for piece in pieces:
        values = select_piece(STATE, piece)
        assert 1 <= sum(value.numel() for value in values.values()) <= max_elements
        insert_piece(joined, STATE, piece, {n: v.double() for n, v in values.items()})
    assert list(joined) == sorted(STATE)
    assert all(torch.equal(joined[n], value.double()) for n, value in STATE.items())
    assert len(pieces) >= 124 / max_elements


def test_small_tensors_share_a_piece():
    assert [list(piece) for piece in split_into_pieces(STATE, 1000)] == [["a", "b", "c", "d"]]

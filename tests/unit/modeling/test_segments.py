"""Tests of the list of segments."""

import torch

from blossomtune.modeling.segments import Segment, list_segments


def test_segments_of_padded_rows_and_of_a_row_with_a_prefix():
    packed = torch.tensor([[1, 1, 2, 3], [-1, -1, 1, 1]])
    assert list_segments(packed) == [
        Segment(row=0, start=0, end=2, prefix=0),
        Segment(row=0, start=2, end=3, prefix=0),
        Segment(row=0, start=3, end=4, prefix=0),
        Segment(row=1, start=2, end=4, prefix=0),
    ]
    shared = torch.tensor([[0, 0, 1, 2, 2]])
    assert list_segments(shared) == [
        Segment(row=0, start=0, end=2, prefix=0),
        Segment(row=0, start=2, end=3, prefix=2),
        Segment(row=0, start=3, end=5, prefix=2),
    ]

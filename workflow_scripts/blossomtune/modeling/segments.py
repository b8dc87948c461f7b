"""List the segments of rows: examples that attend to themselves and to a shared prefix only."""

from typing import NamedTuple

import torch
from torch import Tensor

PREFIX_SEGMENT = 0
"""Segment that all others attend to."""

PADDING_SEGMENT = -1


class Segment(NamedTuple):
    """Neighbouring tokens of a row.

    Attributes:
        row: Index of the row.
        start: Position of the first token.
        end: Position after the last token.
        prefix: Number of tokens at the start of the row that the segment attends to, too.
    """

    row: int
    start: int
    end: int
    prefix: int


def list_segments(segments: Tensor) -> list[Segment]:
    """Return the segments of rows in order, without padding.

    Args:
        segments: (B, W) int64, segment of each token; a prefix comes first in its row.

    Returns:
        Segments with at least one token each.
    """
    result = []
    for row, values in enumerate(segments.cpu()):
        ids, counts = torch.unique_consecutive(values, return_counts=True)
        prefix = int(counts[0]) if ids[0] == PREFIX_SEGMENT else 0
        start = 0
        for value, count in zip(ids.tolist(), counts.tolist(), strict=True):
            if value != PADDING_SEGMENT:
                is_prefix = value == PREFIX_SEGMENT
                result.append(Segment(row, start, start + count, 0 if is_prefix else prefix))
            start += count
    return result

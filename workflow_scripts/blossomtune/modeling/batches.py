"""Form batches of rows for evaluation, limited by rows and by tokens."""

from collections.abc import Iterable, Iterator, Sequence

MAX_BATCH_TOKENS = 8192
"""Largest number of tokens per batch, padding included, so that long rows fit into memory."""


def iterate_batches(
    positions: Iterable[int], widths: Sequence[Sequence[int]], batch_size: int
) -> Iterator[list[int]]:
    """Yield batches of rows, in the order of their positions.

    Args:
        positions: Positions of the rows; rows of similar length should follow each other.
        widths: Per row, the number of tokens of each of its parts. A part is padded to the longest
            one of the batch.
        batch_size: Largest number of rows per batch; long rows form smaller ones.

    Yields:
        Positions of the rows of a batch, at least one.
    """
    batch: list[int] = []
    longest: list[int] = []
    for position in positions:
        width = widths[position]
        padded = [max(pair) for pair in zip(longest or width, width, strict=True)]
        is_large = (len(batch) + 1) * sum(padded) > MAX_BATCH_TOKENS
        if batch and (is_large or len(batch) == batch_size):
            yield batch
            batch, padded = [], list(width)
        batch.append(position)
        longest = padded
    if batch:
        yield batch

"""Packing of whole examples into sequences by best-fit decreasing."""

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np


def pack_examples(lengths: Sequence[int] | np.ndarray, max_length: int) -> list[list[int]]:
    """Assign examples to sequences by best-fit decreasing.

    The longest example comes first. Each goes to the sequence with the least sufficient space, or
    to a new one; ties go to the first. This is "bfd" of TRL, after Ding et al., *Fewer
    Truncations Improve Language Modeling* (arXiv 2404.10830).

    Args:
        lengths: tokens per example, from 1 to ``max_length``.
        max_length: maximum tokens of a sequence.

    Returns:
        Example indices per sequence; each example occurs once.
    """
    sequences: list[list[int]] = []
    spaces: list[int] = []  # distinct free spaces, ascending
    sequences_by_space: dict[int, deque[int]] = defaultdict(deque)
    for i in np.argsort(-np.asarray(lengths), kind="stable"):
        length = int(lengths[i])
        position = bisect_left(spaces, length)
        if position < len(spaces):
            space = spaces[position]
            sequence = sequences_by_space[space].popleft()
            if not sequences_by_space[space]:
                del spaces[position]
        else:
            space, sequence = max_length, len(sequences)
            sequences.append([])
        sequences[sequence].append(int(i))
        if rest := space - length:
            if not sequences_by_space[rest]:
                insort(spaces, rest)
            sequences_by_space[rest].append(sequence)
    return sequences

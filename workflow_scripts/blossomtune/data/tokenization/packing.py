"""Whole examples put together so that they fill sequences: best-fit decreasing."""

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np


def pack_examples(lengths: Sequence[int] | np.ndarray, max_length: int) -> list[list[int]]:
    """Which examples go into which sequence.

    Longest first, each into the sequence that it fills best, or else into a new one; of equal
    ones the first. This is "bfd" of TRL, after Ding et al., *Fewer Truncations Improve Language
    Modeling* (2024, https://arxiv.org/abs/2404.10830).

    Args:
        lengths: tokens of each example, from 1 to ``size``.
        size: tokens that a sequence may have.

    Returns:
        The numbers of the examples in each sequence, every example once.
    """
    sequences: list[list[int]] = []
    spaces: list[int] = []  # that are left somewhere, ascending, each once
    having: dict[int, deque[int]] = defaultdict(deque)  # the sequences with a space
    for i in np.argsort(-np.asarray(lengths), kind="stable"):
        length = int(lengths[i])
        at = bisect_left(spaces, length)
        if at < len(spaces):
            space = spaces[at]
            chosen = having[space].popleft()
            if not having[space]:
                del spaces[at]
        else:
            space, chosen = max_length, len(sequences)
            sequences.append([])
        sequences[chosen].append(int(i))
        if left := space - length:
            if not having[left]:
                insort(spaces, left)
            having[left].append(chosen)
    return sequences

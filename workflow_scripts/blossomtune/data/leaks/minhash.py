"""MinHash signatures and their locality-sensitive hashing, which finds pairs of similar sets."""

import logging
from collections.abc import Iterable, Iterator

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from blossomtune.data.leaks.shingles import ShingleSets

SEED = 1
"""Seed of the permutations."""

NUM_BANDS, ROWS_PER_BAND = 25, 5
"""Texts are candidates if one of 25 bands of 5 minima is equal: with probability
1 - (1 - J^5)^25 at a Jaccard similarity J, 0.99995 at 0.8 and 0.06 at 0.3."""

_MAX_CANDIDATES = 200_000
"""Maximum number of candidates per band, in addition to the number of texts."""

logger = logging.getLogger(__name__)

Signatures = NDArray[np.uint32]
Pairs = NDArray[np.int64]


def compute_signatures(sets: Iterable[ShingleSets]) -> Signatures:
    """Compute the MinHash signatures of sets.

    The values are those of ``datasketch.MinHash`` for the upper 32 bits of the hashes. They are
    computed for many sets at a time, ten times as fast. Source: Broder, *On the Resemblance and
    Containment of Documents*, SEQUENCES 1997.

    Args:
        sets: the sets, chunk by chunk.

    Returns:
        (texts, 125) uint32: minimum of each permutation; 2^32 - 1 for empty sets.
    """
    num_permutations = NUM_BANDS * ROWS_PER_BAND
    factors, summands = MinHash(num_perm=num_permutations, seed=SEED).permutations
    chunks = [np.empty((0, num_permutations), dtype=np.uint32)]
    for chunk in sets:
        is_filled = chunk.counts > 0
        starts = (np.cumsum(chunk.counts) - chunk.counts)[is_filled]
        minima = np.full((num_permutations, len(is_filled)), 2**32 - 1, dtype=np.uint32)
        if len(starts):
            hashes = _mix_bits((chunk.hashes >> np.uint64(32)).astype(np.uint32))
            for i, (factor, summand) in enumerate(zip(factors, summands, strict=True)):
                minima[i, is_filled] = np.minimum.reduceat(hashes * factor + summand, starts)
        chunks.append(minima.T)
    return np.concatenate(chunks)


def iterate_candidates(signatures: Signatures) -> Iterator[Pairs]:
    """Yield the pairs of texts that are equal in a band, band by band.

    Source: Leskovec, Rajaraman and Ullman, *Mining of Massive Datasets*, 3.4. The number of pairs
    per band is limited, so that texts with much in common do not take quadratic time. In a band,
    texts are in the order of their signatures, and near ones are paired first.

    Args:
        signatures: (texts, 125) uint32.

    Yields:
        (pairs, 2) int64, indices of two different texts, the smaller one first.
    """
    max_candidates = _MAX_CANDIDATES + len(signatures)
    is_limited = False
    for band in range(NUM_BANDS):
        rotated = np.roll(signatures, -band * ROWS_PER_BAND, axis=1)[:, : 2 * ROWS_PER_BAND]
        order = np.lexsort(rotated.T[::-1])
        keys = rotated[order, :ROWS_PER_BAND]
        starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)])
        sizes = np.diff(np.r_[starts, len(order)])
        num_following = np.repeat(starts + sizes, sizes) - np.arange(len(order)) - 1
        positions = np.arange(len(order))
        num_candidates, distance = 0, 1
        while len(positions := positions[num_following[positions] >= distance]):
            num_candidates += len(positions)
            if num_candidates > max_candidates:
                is_limited = True
                break
            yield np.sort(np.stack([order[positions], order[positions + distance]], axis=1))
            distance += 1
    if is_limited:
        logger.warning("many texts are alike: some pairs of near duplicates were not compared")


def _mix_bits(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Apply the finalizer of MurmurHash3, as datasketch does before it permutes."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashes = (hashes ^ (hashes >> np.uint32(shift))) * np.uint32(factor)
    return hashes ^ (hashes >> np.uint32(16))

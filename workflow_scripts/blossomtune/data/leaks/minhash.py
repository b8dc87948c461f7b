"""MinHash signatures and their locality-sensitive hashing, which finds pairs of similar sets."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

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

_EMPTY = 2**32 - 1
_KEY_FACTORS = np.random.default_rng(SEED).integers(2**64, size=ROWS_PER_BAND, dtype=np.uint64)
"""Factors of the multilinear hash of a band (Dietzfelbinger, STACS 1996)."""

logger = logging.getLogger(__name__)

Signatures = NDArray[np.uint32]
Pairs = NDArray[np.int64]


def compute_signatures(sets: Iterable[ShingleSets], num_sets: int, path: Path) -> Signatures:
    """Compute the MinHash signatures of sets.

    The values are those of ``datasketch.MinHash`` for the upper 32 bits of the hashes. They are
    computed for many sets at a time, ten times as fast. Source: Broder, *On the Resemblance and
    Containment of Documents*, SEQUENCES 1997.

    Args:
        sets: the sets, chunk by chunk.
        num_sets: number of all sets.
        path: the file to keep the signatures in, so that they need not be in memory.

    Returns:
        (num_sets, 125) uint32: minimum of each permutation; 2^32 - 1 for empty sets.
    """
    num_permutations = NUM_BANDS * ROWS_PER_BAND
    factors, summands = MinHash(num_perm=num_permutations, seed=SEED).permutations
    shape = max(1, num_sets), num_permutations  # a file of no bytes cannot be mapped
    signatures: Signatures = np.memmap(path, np.uint32, "w+", shape=shape)[:num_sets]
    start = 0
    for chunk in sets:
        is_filled = chunk.counts > 0
        starts = (np.cumsum(chunk.counts) - chunk.counts)[is_filled]
        minima = np.full((num_permutations, len(is_filled)), _EMPTY, dtype=np.uint32)
        if len(starts):
            hashes = _mix_bits((chunk.hashes >> np.uint64(32)).astype(np.uint32))
            for i, (factor, summand) in enumerate(zip(factors, summands, strict=True)):
                minima[i, is_filled] = np.minimum.reduceat(hashes * factor + summand, starts)
        signatures[start : start + len(is_filled)] = minima.T
        start += len(is_filled)
    return signatures


def iterate_candidates(signatures: Signatures) -> Iterator[Pairs]:
    """Yield the pairs of sets that are equal in a band, band by band.

    Source: Leskovec, Rajaraman and Ullman, *Mining of Massive Datasets*, 3.4. The number of pairs
    per band is limited, so that sets with much in common do not take quadratic time. In a band,
    sets are in the order of the minima that follow, and neighbours are paired first.

    Args:
        signatures: (sets, 125) uint32.

    Yields:
        (pairs, 2) int64, indices of two different sets, the smaller one first.
    """
    max_candidates = _MAX_CANDIDATES + len(signatures)
    is_limited = False
    for band in range(NUM_BANDS):
        order, num_following = _sort_band(signatures, band)
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


def _sort_band(signatures: Signatures, band: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sets that equal another one in a band, sorted, and how many equal ones follow."""
    start = band * ROWS_PER_BAND
    minima = signatures[:, start : start + ROWS_PER_BAND].astype(np.uint64)
    keys = (minima * _KEY_FACTORS).sum(axis=1, dtype=np.uint64)
    order = np.argsort(keys)
    is_repeated = np.zeros(len(order), dtype=bool)
    is_repeated[1:] = keys[order[1:]] == keys[order[:-1]]
    is_repeated[:-1] |= is_repeated[1:]
    order = order[is_repeated & (minima[order, 0] != _EMPTY)]
    following = (start + ROWS_PER_BAND + np.arange(ROWS_PER_BAND)) % signatures.shape[1]
    order = order[np.lexsort([order, *signatures[order][:, following].T[::-1], keys[order]])]
    _, sizes = np.unique(keys[order], return_counts=True)
    num_following = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(order)) - 1
    return order, num_following


def _mix_bits(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Apply the finalizer of MurmurHash3, as datasketch does before it permutes."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashes = (hashes ^ (hashes >> np.uint32(shift))) * np.uint32(factor)
    return hashes ^ (hashes >> np.uint32(16))

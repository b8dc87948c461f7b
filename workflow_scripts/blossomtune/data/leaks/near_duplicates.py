"""Pairs of texts that are nearly equal."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from blossomtune.data.leaks import minhash
from blossomtune.data.leaks.minhash import Pairs, Signatures
from blossomtune.data.leaks.shingles import (
    ShingleSets,
    find_common_shingles,
    hash_shingles,
    iterate_chunks,
)

THRESHOLD = 0.8
"""Jaccard similarity of the shingle sets of texts that are near duplicates."""

_MIN_EQUAL_MINIMA = 78
"""Pairs with fewer equal minima of 125 are not compared: 5 standard deviations below the mean
of a pair at the threshold."""

_MAX_COMPARED_SHINGLES = 1 << 22
_MAX_COMPARED_PAIRS = 1 << 17


def find_near_duplicates(texts: pa.ChunkedArray, folder: Path) -> Pairs:
    """Find the pairs of texts whose shingle sets have a Jaccard similarity of ``THRESHOLD``.

    Candidates come from MinHash signatures, and are then compared exactly. A pair at the threshold
    is missed with a probability of 5e-5, one at 0.9 with 1e-10.

    Args:
        texts: different normalized texts, strings.
        folder: a folder for a temporary file.

    Returns:
        (pairs, 2) int64, indices of the texts, the smaller one first; sorted.
    """
    common = find_common_shingles(texts)
    counts: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]

    def iterate_sets() -> Iterator[ShingleSets]:
        for chunk in iterate_chunks(texts):
            sets = hash_shingles(chunk).remove(common)
            counts.append(sets.counts)
            yield sets

    signatures = minhash.compute_signatures(iterate_sets(), len(texts), folder / "signatures")
    similar = _find_similar_signatures(signatures)
    num_shingles = np.concatenate(counts)
    near = [np.empty((0, 2), dtype=np.int64)]
    for pairs in _split_pairs(similar, num_shingles):
        indices, positions = np.unique(pairs, return_inverse=True)
        sets = hash_shingles(texts.take(pa.array(indices)).to_pylist()).remove(common)
        similarities = compute_jaccard_similarities(sets, positions.reshape(-1, 2))
        near.append(pairs[similarities >= THRESHOLD])
    return np.concatenate(near)


def compute_jaccard_similarities(sets: ShingleSets, pairs: Pairs) -> NDArray[np.float64]:
    """Compute the Jaccard similarities of pairs of sets.

    Args:
        sets: shingles, which may repeat.
        pairs: (pairs, 2), indices of sets that are not empty.

    Returns:
        (pairs,) float64: size of the intersection divided by the size of the union.
    """
    sets = sets.remove_repetitions()
    shingles, columns = np.unique(sets.hashes, return_inverse=True)
    matrix = sparse.csr_array(
        (np.ones(len(columns), dtype=np.int32), columns, np.r_[0, np.cumsum(sets.counts)]),
        shape=(len(sets.counts), len(shingles)),
    )
    common = np.zeros(len(pairs), dtype=np.int64)
    batches = np.cumsum(sets.counts[pairs[:, 0]]) // _MAX_COMPARED_SHINGLES
    for batch in np.split(np.arange(len(pairs)), np.flatnonzero(np.diff(batches)) + 1):
        first, second = pairs[batch].T
        common[batch] = matrix[first].multiply(matrix[second]).sum(axis=1)
    sizes = sets.counts[pairs].sum(axis=1)
    similarities: NDArray[np.float64] = common / (sizes - common)
    return similarities


def _find_similar_signatures(signatures: Signatures) -> Pairs:
    """Return the sorted candidates that have enough equal minima."""
    base = max(1, len(signatures))
    similar, pending, num_pending = np.empty(0, dtype=np.int64), list[NDArray[np.int64]](), 0
    for candidates in minhash.iterate_candidates(signatures):
        for start in range(0, len(candidates), _MAX_COMPARED_PAIRS):
            first, second = candidates[start : start + _MAX_COMPARED_PAIRS].T
            equal = (signatures[first] == signatures[second]).sum(axis=1) >= _MIN_EQUAL_MINIMA
            pending.append(first[equal] * base + second[equal])
            num_pending += len(pending[-1])
        if num_pending > len(similar) + _MAX_COMPARED_PAIRS:
            similar, num_pending = np.unique(np.concatenate([similar, *pending])), 0
            pending.clear()
    similar = np.unique(np.concatenate([similar, *pending]))
    return np.stack(np.divmod(similar, base), axis=1)


def _split_pairs(pairs: Pairs, num_shingles: NDArray[np.int64]) -> Iterator[Pairs]:
    """Yield consecutive pairs whose texts have few shingles together."""
    if len(pairs) > 1 and num_shingles[np.unique(pairs)].sum() > _MAX_COMPARED_SHINGLES:
        middle = len(pairs) // 2
        yield from _split_pairs(pairs[:middle], num_shingles)
        yield from _split_pairs(pairs[middle:], num_shingles)
    elif len(pairs):
        yield pairs

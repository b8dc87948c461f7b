"""Shingles: the sets of short character sequences by which texts are compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SHINGLE_SIZE = 5
"""Characters per shingle, as *Mining of Massive Datasets* (3.2) advises for short texts."""

MIN_SAMPLE = 20
"""Number of texts from which on shingles that most of them share are left out."""

_MAX_SAMPLE = 1000
_MAX_CHUNK_BYTES = 1 << 20
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class ShingleSets:
    """Shingles of T texts; a text's shingles are contiguous and may repeat.

    Attributes:
        hashes: (S,) uint64, hashes of all shingles.
        counts: (T,) int64, number of shingles per text.
    """

    hashes: Hashes
    counts: NDArray[np.int64]

    @property
    def text_indices(self) -> NDArray[np.int64]:
        """(S,) int64, index of each shingle's text."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def remove(self, shingles: Hashes) -> "ShingleSets":
        """Return the sets without some shingles."""
        if not len(shingles):
            return self
        is_other = ~np.isin(self.hashes, shingles)
        counts = np.bincount(self.text_indices[is_other], minlength=len(self.counts))
        return ShingleSets(self.hashes[is_other], counts)

    def remove_repetitions(self) -> "ShingleSets":
        """Return the sets with each shingle once per text, in the order of the hashes."""
        texts = self.text_indices
        order = np.lexsort((self.hashes, texts))
        hashes, texts = self.hashes[order], texts[order]
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = (hashes[1:] != hashes[:-1]) | (texts[1:] != texts[:-1])
        counts = np.bincount(texts[is_first], minlength=len(self.counts))
        return ShingleSets(hashes[is_first], counts)


def hash_shingles(texts: Sequence[str]) -> ShingleSets:
    """Hash every ``SHINGLE_SIZE`` consecutive characters of each text.

    Args:
        texts: normalized texts; a shorter text is one shingle.

    Returns:
        64-bit polynomial hashes. Any two of a million different shingles collide with a
        probability of about 3e-8.
    """
    padded = [text.ljust(SHINGLE_SIZE, "\0") for text in texts]
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    num_windows = max(0, len(codes) - SHINGLE_SIZE + 1)
    hashes = np.zeros(num_windows, dtype=np.uint64)
    for i in range(SHINGLE_SIZE):
        hashes += codes[i : i + num_windows]
        hashes *= _MULTIPLIER
    is_inside = np.ones(len(codes), dtype=bool)  # windows that do not reach into the next text
    ends = np.cumsum(lengths)
    for i in range(1, SHINGLE_SIZE):
        is_inside[ends - i] = False
    return ShingleSets(hashes[is_inside[:num_windows]], lengths - SHINGLE_SIZE + 1)


def find_common_shingles(texts: pa.ChunkedArray) -> Hashes:
    """Find the shingles of more than half of the texts, such as those of an instruction.

    Without them, texts that a template writes into the same frame are not alike.

    Args:
        texts: normalized texts.

    Returns:
        Hashes, ascending, from up to 1,000 evenly spaced texts; none if there are fewer than
        ``MIN_SAMPLE`` texts, too few to tell frames from duplicates.
    """
    if len(texts) < MIN_SAMPLE:
        return np.empty(0, dtype=np.uint64)
    size = min(len(texts), _MAX_SAMPLE)
    sample = texts.take(pa.array(np.arange(size) * len(texts) // size)).to_pylist()
    shingles, counts = np.unique(
        hash_shingles(sample).remove_repetitions().hashes, return_counts=True
    )
    common: Hashes = shingles[counts > size / 2]
    return common


def iterate_chunks(texts: pa.ChunkedArray) -> Iterator[list[str]]:
    """Yield consecutive texts, a few megabytes at a time."""
    ends = np.cumsum(pc.binary_length(texts).to_numpy())
    start = 0
    while start < len(texts):
        limit = (ends[start - 1] if start else 0) + _MAX_CHUNK_BYTES
        stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
        yield texts.slice(start, stop - start).to_pylist()
        start = stop

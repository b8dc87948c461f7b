"""Deduplication by digests of rows, so that the rows need not be in memory."""

import functools
import re
import sys
import unicodedata
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa


def hash_rows(batches: Iterable[pa.RecordBatch], method: str) -> np.ndarray:
    """Hash each row; equal rows have equal hashes.

    Args:
        batches: the columns to compare, in one schema.
        method: ``exact``, or ``normalised`` (see ``normalize_text``).

    Returns:
        128-bit BLAKE2b digests, shape (rows, 2), uint64. Any two of a billion different rows
        collide with a probability below 1e-20.
    """
    hashes = [np.empty((0, 2), dtype=np.uint64)]
    for batch in batches:
        rows: Iterable[Any] = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        if method == "normalised":
            rows = map(normalize_text, rows)
        digests = b"".join(blake2b(repr(row).encode(), digest_size=16).digest() for row in rows)
        hashes.append(np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2))
    return np.concatenate(hashes)


def find_first_occurrences(row_hashes: np.ndarray) -> np.ndarray:
    """Return the index of the first row per distinct hash, ascending, int64."""
    order = np.lexsort((row_hashes[:, 1], row_hashes[:, 0]))  # stable: equal rows stay in order
    ordered = row_hashes[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.sort(order[is_first])


def normalize_text(value: Any) -> Any:
    """Normalize text for comparison, also inside lists and objects.

    Unicode compatibility forms (NFKC) and letter case are folded. Only letters with their accents
    and digits remain, with one space between words. Text without any of them (":)", "???") is
    only stripped.

    Args:
        value: a cell.

    Returns:
        The cell with normalized texts; lists and tuples become lists.
    """
    if isinstance(value, str):
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
        return compile_separator_pattern().sub(" ", folded).strip() or folded.strip()
    if isinstance(value, dict):
        return {key: normalize_text(inner) for key, inner in value.items()}
    return [normalize_text(v) for v in value] if isinstance(value, list | tuple) else value


@functools.cache
def compile_separator_pattern() -> re.Pattern[str]:
    """Compile the pattern of what separates words; call it before forks, since it takes 0.3 s."""
    # \w excludes combining marks, which are the vowels of many scripts
    characters = map(chr, range(sys.maxunicode + 1))
    marks = "".join(c for c in characters if unicodedata.category(c).startswith("M"))
    return re.compile(rf"(?:[^\w{marks}]|_)+")

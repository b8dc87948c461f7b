"""Rows that are equal: found by digests, so that the rows themselves need not be in memory."""

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
    """A number a row that equal rows have in common.

    Args:
        batches: the columns to compare by, in one schema.
        how: exact, or normalised (see ``normalised``).

    Returns:
        Shape (rows, 2), uint64: 128 bits of BLAKE2b. Two of a billion different rows are the same
        with a probability below 1e-20.
    """
    found = [np.empty((0, 2), dtype=np.uint64)]
    for batch in batches:
        rows: Iterable[Any] = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        if method == "normalised":
            rows = map(normalize_text, rows)
        joined = b"".join(blake2b(repr(row).encode(), digest_size=16).digest() for row in rows)
        found.append(np.frombuffer(joined, dtype=np.uint64).reshape(-1, 2))
    return np.concatenate(found)


def find_first_occurrences(row_hashes: np.ndarray) -> np.ndarray:
    """Of rows with equal digests, the number of the first; ascending, int64."""
    order = np.lexsort((row_hashes[:, 1], row_hashes[:, 0]))  # stable: equal ones stay in order
    ordered = row_hashes[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.sort(order[new])


def normalize_text(value: Any) -> Any:
    """Text without what hardly makes a difference; in lists and objects, too.

    Unicode's compatibility forms (NFKC) and letter case are folded. Of what is then there, only
    letters with their accents and digits are kept, with one space between words. Text without any
    (":)", "???") is kept, but for spaces at its ends.
    """
    if isinstance(value, str):
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
        return _compile_separator_pattern().sub(" ", folded).strip() or folded.strip()
    if isinstance(value, dict):
        return {key: normalize_text(inner) for key, inner in value.items()}
    return [normalize_text(v) for v in value] if isinstance(value, list | tuple) else value


@functools.cache
def _compile_separator_pattern() -> re.Pattern[str]:
    # \w leaves out combining marks, which are the vowels of many scripts
    every = map(chr, range(sys.maxunicode + 1))
    marks = "".join(c for c in every if unicodedata.category(c).startswith("M"))
    return re.compile(rf"(?:[^\w{marks}]|_)+")

"""Comparison of rows by their texts: which are equal or nearly equal."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from blossomtune.data.leaks.near_duplicates import find_near_duplicates

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Matches:
    """Rows of a file that equal, or only nearly equal, some other rows.

    Attributes:
        exact: (rows,) bool, whether a row's text equals one of theirs.
        near: (rows,) bool, whether it is not equal, and nearly equal to one of theirs.
    """

    exact: Bools
    near: Bools

    @property
    def any(self) -> Bools:
        """(rows,) bool, whether a row equals or nearly equals one of theirs."""
        return self.exact | self.near


class RowComparison:
    """Comparison of the rows of several files.

    Args:
        texts: the different texts of all rows.
        text_indices: per file, (rows,) int64, index of each row's text; -1 for rows that do not
            count.
        folder: a folder for a temporary file.
    """

    def __init__(
        self, texts: pa.ChunkedArray, text_indices: Sequence[NDArray[np.int64]], folder: Path
    ) -> None:
        self._num_texts, self._text_indices = len(texts), [i.copy() for i in text_indices]
        first, second = find_near_duplicates(texts, folder).T
        ones = np.ones(2 * len(first), dtype=np.int32)
        self._is_near = sparse.csr_array(
            (ones, (np.r_[first, second], np.r_[second, first])),
            shape=(self._num_texts, self._num_texts),
        )

    def exclude_rows(self, file: int, rows: Sequence[int]) -> None:
        """Exclude rows from further comparisons.

        Args:
            file: index of the file.
            rows: indices of the rows.
        """
        self._text_indices[file][list(rows)] = -1

    def count_files(self, files: Sequence[int]) -> NDArray[np.int64]:
        """Return (texts,) int64, the number of these files with a row of each text."""
        counts = np.zeros(self._num_texts, dtype=np.int64)
        for file in files:
            indices = self._text_indices[file]
            counts[np.unique(indices[indices >= 0])] += 1
        return counts

    def match_texts(self, file: int, texts: Bools) -> Matches:
        """Compare a file's rows with texts.

        Args:
            file: index of the file.
            texts: (texts,) bool, the texts to compare with.

        Returns:
            Rows that equal or nearly equal one of the texts.
        """
        near_texts = ~texts & (self._is_near @ texts.astype(np.int32) > 0)
        indices = self._text_indices[file]
        rows = np.flatnonzero(indices >= 0)
        exact, near = np.zeros(len(indices), dtype=bool), np.zeros(len(indices), dtype=bool)
        exact[rows], near[rows] = texts[indices[rows]], near_texts[indices[rows]]
        return Matches(exact, near)

    def match_earlier_rows(self, file: int) -> Matches:
        """Compare a file's rows with the rows before them in the file."""
        indices = self._text_indices[file]
        rows = np.flatnonzero(indices >= 0)
        texts, first_rows = np.unique(indices[rows], return_index=True)
        texts = texts[np.argsort(first_rows)]  # in order of appearance
        earlier = sparse.tril(self._is_near[texts][:, texts], -1)
        exact, near = np.zeros(len(indices), dtype=bool), np.zeros(len(indices), dtype=bool)
        exact[rows] = True
        exact[rows[first_rows]] = False
        near[rows[np.sort(first_rows)]] = np.asarray(earlier.sum(axis=1)) > 0
        return Matches(exact, near)

    def find_first_matches(
        self, file: int, rows: NDArray[np.int64], others: Sequence[int]
    ) -> list[tuple[int, int]]:
        """Find the first row of other files that each row equals, or else nearly equals.

        Args:
            file: index of the file.
            rows: indices of rows that have a match in the other files.
            others: indices of the other files.

        Returns:
            Per row, file and index of the first match.
        """
        first: dict[int, tuple[int, int]] = {}
        for other in others:
            for row, text in enumerate(self._text_indices[other].tolist()):
                first.setdefault(text, (other, row))
        matches = []
        for text in self._text_indices[file][rows].tolist():
            start, end = self._is_near.indptr[text : text + 2]
            near = [first[n] for n in self._is_near.indices[start:end].tolist() if n in first]
            matches.append(first.get(text) or min(near))
        return matches

"""Columns as numbers, and how far a client's labels are from those of all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune.errors import UserError


@dataclass(frozen=True)
class EncodedLabels:
    """A column of N rows as numbers.

    Attributes:
        values: the column's K distinct values in ascending order; neither null nor NaN.
        codes: shape (N,), each row's place in ``values``; -1 where it has no value.
    """

    categories: list[Any]
    codes: np.ndarray

    def count_labels(self, row_indices: np.ndarray) -> Counter[str]:
        """How many of these rows have each value, by its text; no value counts as ``null``."""
        counts = Counter[str]()
        for code, number in zip(
            *np.unique(self.codes[row_indices], return_counts=True), strict=True
        ):
            counts["null" if code < 0 else str(self.categories[code])] += int(number)
        return counts


def encode_labels(key: str, column: str, arrays: Iterable[pa.Array]) -> EncodedLabels:
    """Reads a column.

    Args:
        key: the configuration's key that names the column.
        column: its name.
        arrays: its values, in parts; only the distinct ones are kept.

    Raises:
        UserError: where the values are lists or objects.
    """
    seen: dict[Any, int] = {}
    parts = [np.zeros(0, np.int64)]
    for array in arrays:
        try:
            part = array.dictionary_encode()
        except pa.ArrowNotImplementedError:
            raise UserError(
                f"{key}: values of column {column!r} are {array.type}, which are no labels",
                "choose a column of text, numbers or truth values",
            ) from None
        numbers = [
            seen.setdefault(value, len(seen)) if value is not None and value == value else -1
            for value in part.dictionary.to_pylist()
        ]
        parts.append(np.array([*numbers, -1])[part.indices.fill_null(-1).to_numpy()])
    values = sorted(seen)
    place = np.full(len(seen) + 1, -1)
    place[[seen[value] for value in values]] = np.arange(len(values))
    return EncodedLabels(values, place[np.concatenate(parts)])


def encode_required_labels(config: Mapping[str, Any], column: pa.ChunkedArray) -> EncodedLabels:
    """The column that decides who gets which rows: every row must have a value.

    Raises:
        UserError: where a row has none, or the values are lists or objects.
    """
    labels = encode_labels("column", config["column"], column.chunks)
    if missing := np.count_nonzero(labels.codes < 0):
        raise UserError(f"column: {missing} training rows have no {config['column']!r}")
    return labels


def format_values(values: Sequence[Any], max_values: int = 20) -> str:
    """Values in words; the first ones where there are many."""
    return ", ".join(map(str, values[:max_values])) + (", …" if len(values) > max_values else "")


def jensen_shannon_distance(
    client_counts: Mapping[str, int], total_counts: Mapping[str, int]
) -> float:
    """How far a client's labels are from those of all: the Jensen–Shannon distance.

    With the shares P of the client and Q of all, and M = (P + Q) / 2, it is the square root of
    ½ KL(P ‖ M) + ½ KL(Q ‖ M) to base 2: 0 for equal shares, 1 where they have no label in
    common. The divergence is J. Lin's (Divergence measures based on the Shannon entropy, 1991);
    that its root is a metric was shown by D. Endres and J. Schindelin (A new metric for
    probability distributions, 2003).

    Args:
        counts: rows of each of the client's labels; at least one row.
        whole: rows of each label of all clients, those of ``counts`` among them.

    Returns:
        A number in [0, 1], rounded to 6 digits.
    """
    p = np.array(list(client_counts.values())) / sum(client_counts.values())
    q = np.array([total_counts[label] for label in client_counts]) / sum(total_counts.values())
    m = (p + q) / 2
    # a label that the client lacks adds q · log2(q / (q / 2)) = q; together: what is left of 1
    divergence = (p @ np.log2(p / m) + q @ np.log2(q / m) + 1 - q.sum()) / 2
    return round(float(np.sqrt(np.clip(divergence, 0, 1))), 6)

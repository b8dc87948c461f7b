"""Label encoding, and distance of label distributions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.spatial.distance import jensenshannon

from blossomtune.errors import UserError


@dataclass(frozen=True)
class EncodedLabels:
    """A label column of N rows, encoded as integers.

    Attributes:
        categories: the K distinct labels in ascending order, without null and NaN.
        codes: shape (N,), int64: each row's index in ``categories``; -1 for null and NaN.
    """

    categories: list[Any]
    codes: np.ndarray

    def count_labels(self, row_indices: np.ndarray) -> Counter[str]:
        """Count the rows per label text; rows without label count as ``null``."""
        counts = Counter[str]()
        for code, number in zip(
            *np.unique(self.codes[row_indices], return_counts=True), strict=True
        ):
            counts["null" if code < 0 else str(self.categories[code])] += int(number)
        return counts


def encode_labels(key: str, column: str, arrays: Iterable[pa.Array]) -> EncodedLabels:
    """Encode a column.

    Args:
        key: configuration key that names the column.
        column: the column's name.
        arrays: its values, in chunks.

    Returns:
        The encoded labels.

    Raises:
        UserError: if the values are lists or objects.
    """
    indices: dict[Any, int] = {}
    parts = [np.zeros(0, np.int64)]
    for array in arrays:
        try:
            encoded = array.dictionary_encode()
        except pa.ArrowNotImplementedError:
            raise UserError(
                f"{key}: values of column {column!r} are {array.type}, which are no labels",
                "choose a column of text, numbers or truth values",
            ) from None
        codes = [
            indices.setdefault(value, len(indices)) if value is not None and value == value else -1
            for value in encoded.dictionary.to_pylist()
        ]
        parts.append(np.array([*codes, -1])[encoded.indices.fill_null(-1).to_numpy()])
    categories = sorted(indices)
    sorted_codes = np.full(len(indices) + 1, -1)
    sorted_codes[[indices[value] for value in categories]] = np.arange(len(categories))
    return EncodedLabels(categories, sorted_codes[np.concatenate(parts)])


def encode_required_labels(config: Mapping[str, Any], column: pa.ChunkedArray) -> EncodedLabels:
    """Encode the column that clients are assigned by; each row must have a label.

    Args:
        config: a partition's block.
        column: labels, shape (N,).

    Returns:
        The encoded labels.

    Raises:
        UserError: if a row has no label, or the values are lists or objects.
    """
    labels = encode_labels("column", config["column"], column.chunks)
    if missing := np.count_nonzero(labels.codes < 0):
        raise UserError(f"column: {missing} training rows have no {config['column']!r}")
    return labels


def format_values(values: Sequence[Any], max_values: int = 20) -> str:
    """Return values as text.

    Args:
        values: any values.
        max_values: number of values to list before an ellipsis.

    Returns:
        The values, comma-separated.
    """
    return ", ".join(map(str, values[:max_values])) + (", …" if len(values) > max_values else "")


def jensen_shannon_distance(
    client_counts: Mapping[str, int], total_counts: Mapping[str, int]
) -> float:
    """Compute the Jensen-Shannon distance (base 2) of a client's labels from those of all clients.

    The divergence is from J. Lin, Divergence measures based on the Shannon entropy (1991). Its
    square root is a metric: D. Endres and J. Schindelin, A new metric for probability
    distributions (2003).

    Args:
        client_counts: rows per label of the client; at least one row.
        total_counts: rows per label of all clients, including this one.

    Returns:
        A number in [0, 1], rounded to 6 digits: 0 for equal distributions, 1 for disjoint labels.
    """
    counts = [[client_counts.get(label, 0), total] for label, total in total_counts.items()]
    with np.errstate(invalid="ignore"):  # rounding can make a tiny divergence negative
        distance = jensenshannon(*np.array(counts).T, base=2)
    return 0.0 if np.isnan(distance) else round(float(distance), 6)

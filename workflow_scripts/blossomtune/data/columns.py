"""Columns by name, and what to say when there is none of that name."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from blossomtune.errors import UserError, find_closest_match


def require_column(key: str, column: str, available_columns: Iterable[str]) -> None:
    """Checks that a column is there.

    Args:
        key: the configuration's key that names it.
        column: its name.
        known: the columns that there are.

    Raises:
        UserError: with the key, the column, the nearest spelling and all that there are.
    """
    names = list(available_columns)
    if column not in names:
        raise UserError(f"{key}: {describe_missing_column(column, names)}")


def read_column_as_text(batches: Iterable[pa.RecordBatch]) -> np.ndarray:
    """The only column's values as text, shape (rows,), object; equal ones are one object."""
    seen: dict[str, str] = {}
    values = (str(value) for batch in batches for value in batch.column(0).to_pylist())
    return np.array([seen.setdefault(value, value) for value in values], dtype=object)


def describe_missing_column(column: str, available_columns: list[str]) -> str:
    """Says that a column is not there, which spelling is near, and which columns there are."""
    near = find_closest_match(column, available_columns)
    meant = f"did you mean {near!r}? " if near else ""
    return f"there is no column {column!r}; {meant}columns: {', '.join(available_columns)}"

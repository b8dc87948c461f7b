"""Checks and values of columns."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from blossomtune.errors import UserError, find_closest_match


def require_column(key: str, column: str, available_columns: Iterable[str]) -> None:
    """Check that a column exists.

    Args:
        key: the configuration key that names the column.
        column: the column's name.
        available_columns: the columns that exist.

    Raises:
        UserError: if it does not, with the closest name and all columns.
    """
    names = list(available_columns)
    if column not in names:
        raise UserError(f"{key}: {describe_missing_column(column, names)}")


def is_list_type(data_type: pa.DataType) -> bool:
    """Return whether values of a type are lists."""
    return bool(pa.types.is_list(data_type) or pa.types.is_large_list(data_type))


def read_column_as_text(batches: Iterable[pa.RecordBatch]) -> np.ndarray:
    """Return the first column as text, shape (rows,), object; equal texts share one object."""
    values = (str(value) for batch in batches for value in batch.column(0).to_pylist())
    unique: dict[str, str] = {}
    return np.array([unique.setdefault(value, value) for value in values], dtype=object)


def describe_missing_column(column: str, available_columns: list[str]) -> str:
    """Return a message that a column does not exist.

    Args:
        column: the column's name.
        available_columns: the columns that exist.

    Returns:
        The message, with the closest name and all columns.
    """
    match = find_closest_match(column, available_columns)
    hint = f"did you mean {match!r}? " if match else ""
    return f"there is no column {column!r}; {hint}columns: {', '.join(available_columns)}"

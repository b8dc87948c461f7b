"""Read a column that the evaluation's settings name."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from blossomtune.errors import UserError, find_closest_match


def read_column(file: Path, name: str, key: str) -> list[Any]:
    """Return the values of a column.

    Args:
        file: A Parquet file.
        name: Name of the column.
        key: Key of the configuration that names it, for the error.

    Returns:
        One value per row.

    Raises:
        UserError: If there is no such column.
    """
    known = pq.read_schema(file).names
    if name not in known:
        near = find_closest_match(name, known)
        raise UserError(
            f"{key}: {name!r} is not a column of the data set; known: {', '.join(known)}",
            f"did you mean {near!r}?" if near else None,
        )
    values: list[Any] = pq.read_table(file, columns=[name])[name].to_pylist()
    return values

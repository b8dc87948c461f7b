"""Conversion of JSON objects to Arrow batches."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from blossomtune.errors import UserError

_TYPE_NAMES = {
    dict: "object", list: "list", str: "text", bool: "truth value", int: "number", float: "number"
}  # fmt: skip


def describe_type(value: Any) -> str:
    """Return the name of a JSON value's type."""
    return _TYPE_NAMES.get(type(value), "null")


def build_batch(
    path: Path, rows: list[dict[str, Any]], lines: list[int], on_bad_line: str
) -> pa.RecordBatch:
    """Build a batch of rows.

    Args:
        path: the file, for messages.
        rows: the objects.
        lines: line number of each.
        on_bad_line: ``error``, or ``skip`` to leave out rows with values that no column can hold.

    Returns:
        The rows; keys that a row lacks are null.

    Raises:
        UserError: if the values of a column have no common type, or no column can hold one.
    """
    arrays = {}
    for column in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(column) for row in rows]
        try:
            arrays[column] = pa.array(values)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            bad = _find_unsupported_values(values)
            if bad and on_bad_line == "skip":
                valid = [i for i in range(len(rows)) if i not in bad]
                valid_lines = [lines[i] for i in valid]
                return build_batch(path, [rows[i] for i in valid], valid_lines, on_bad_line)
            raise _make_column_error(path, column, values, lines, error, bad) from None
    return pa.RecordBatch.from_pydict(arrays)


def _find_unsupported_values(values: list[Any]) -> dict[int, str]:
    """Return index and description of the values that no column can hold."""
    bad = {}
    for i, value in enumerate(values):
        try:
            pa.array([value])
        except OverflowError:
            bad[i] = "a number beyond 64 bits"
        except UnicodeEncodeError:
            bad[i] = "a lone surrogate, which is no character"
        except pa.ArrowException:
            continue  # a list of different types, which is an error of its own
    return bad


def _make_column_error(
    path: Path,
    column: str,
    values: list[Any],
    lines: list[int],
    error: Exception,
    bad: dict[int, str],
) -> UserError:
    """Return the error for values that make no column, with the line of the cause."""
    location = f"{path.name}: column {column!r}"
    if bad:
        i = min(bad)
        return UserError(
            f"{path.name}: line {lines[i]}: column {column!r} has {bad[i]}",
            "write the value as text, or leave bad lines out: format: {on_bad_line: skip}",
        )
    first_lines: dict[str, int] = {}
    for value, line in zip(values, lines, strict=True):
        if value is not None:
            first_lines.setdefault(describe_type(value), line)
    if len(first_lines) > 1:
        types = ", ".join(f"{name} in line {line}" for name, line in first_lines.items())
        return UserError(f"{location} has values of different types: {types}")
    return UserError(
        f"{location}, lines {lines[0]} to {lines[-1]}: its values make no column: "
        f"{str(error).splitlines()[0][:300]}"
    )

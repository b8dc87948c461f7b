"""Reader of JSON: a list of objects, or one object per line."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from blossomtune.data.sources.compression import open_decompressed
from blossomtune.data.sources.json_stream import CHUNK_SIZE, JsonStream
from blossomtune.data.sources.read_errors import make_read_error
from blossomtune.errors import UserError

_TYPE_NAMES = {
    dict: "object", list: "list", str: "text", bool: "truth value", int: "number", float: "number"
}  # fmt: skip

NumberedValues = Iterator[tuple[int, Any]]
"""Line number and value, in the file's order."""


def _iter_jsonl_values(path: Path) -> NumberedValues:
    with io.BufferedReader(open_decompressed(path), CHUNK_SIZE) as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode().removeprefix("\ufeff" if number == 1 else "")
                if text.strip():
                    yield number, json.loads(text)
            except UnicodeDecodeError:
                raise ValueError(f"line {number}: it is not UTF-8") from None
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from None


def _iter_array_elements(path: Path) -> NumberedValues:
    with io.TextIOWrapper(open_decompressed(path), encoding="utf-8-sig", newline="") as file:
        stream = JsonStream(file)
        if stream.peek_char() != "[":
            raise UserError(
                f"{path.name} is not a list of objects", "an object a line is kind: jsonl"
            )
        stream.position += 1
        next_char = stream.peek_char()
        while next_char != "]":
            yield stream.get_line_number(), stream.decode_value()
            next_char = stream.peek_char()
            if next_char not in ("]", ","):
                raise stream.make_error("',' or ']' expected")
            if next_char == ",":
                stream.position += 1
                stream.peek_char()
        stream.position += 1
        if stream.peek_char():
            raise stream.make_error("there is more after the list")


def _build_batches(
    path: Path, file_format: str, numbered_values: NumberedValues, batch_size: int
) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    line_numbers: list[int] = []
    try:
        for line, value in numbered_values:
            if not isinstance(value, dict):
                raise UserError(
                    f"{path.name}: line {line} is not an object but {_describe_type(value)}"
                )
            rows.append(value)
            line_numbers.append(line)
            if len(rows) == batch_size:
                yield _build_batch(path, rows, line_numbers)
                rows, line_numbers = [], []
    except (ValueError, OSError, RecursionError) as error:
        raise make_read_error(path, file_format, error) from None
    if rows:
        yield _build_batch(path, rows, line_numbers)


READERS = {
    "json": lambda path, size: _build_batches(path, "json", _iter_array_elements(path), size),
    "jsonl": lambda path, size: _build_batches(path, "jsonl", _iter_jsonl_values(path), size),
}
"""Reader per format, called with path and rows per batch."""


def _describe_type(value: Any) -> str:
    return _TYPE_NAMES.get(type(value), "null")


def _build_batch(path: Path, rows: list[dict[str, Any]], line_numbers: list[int]) -> pa.RecordBatch:
    arrays = {}
    for column in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(column) for row in rows]
        try:
            arrays[column] = pa.array(values)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise _make_column_error(path, column, values, line_numbers, error) from None
    return pa.RecordBatch.from_pydict(arrays)


def _make_column_error(
    path: Path, column: str, values: list[Any], line_numbers: list[int], error: Exception
) -> UserError:
    """Return the error for values of no common type, with the first line of each type."""
    first_lines: dict[str, int] = {}
    for value, line in zip(values, line_numbers, strict=True):
        if value is not None:
            first_lines.setdefault(_describe_type(value), line)
    location = f"{path.name}: column {column!r}"
    if len(first_lines) > 1:
        types = ", ".join(f"{name} in line {line}" for name, line in first_lines.items())
        return UserError(f"{location} has values of different types: {types}")
    return UserError(
        f"{location}, lines {line_numbers[0]} to {line_numbers[-1]}: its values make no column: "
        f"{str(error).splitlines()[0][:300]}"
    )

"""JSON: a list of objects, or an object a line."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from blossomtune.data.sources.compression import open_decompressed
from blossomtune.data.sources.json_stream import _CHUNK_SIZE, JsonStream
from blossomtune.data.sources.read_errors import make_read_error
from blossomtune.errors import UserError

_TYPE_NAMES = {
    dict: "object", list: "list", str: "text", bool: "truth value", int: "number", float: "number"
}  # fmt: skip


NumberedValues = Iterator[tuple[int, Any]]
"""Values, each with the number of the line that it is on."""


def _iter_jsonl_values(path: Path) -> NumberedValues:
    with io.BufferedReader(open_decompressed(path), _CHUNK_SIZE) as file:
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
        text = JsonStream(file)
        if text.peek_char() != "[":
            raise UserError(
                f"{path.name} is not a list of objects", "an object a line is kind: jsonl"
            )
        text.position += 1
        following = text.peek_char()
        while following != "]":
            yield text.get_line_number(), text.decode_value()
            following = text.peek_char()
            if following not in ("]", ","):
                raise text.make_error("',' or ']' expected")
            if following == ",":
                text.position += 1
                text.peek_char()
        text.position += 1
        if text.peek_char():
            raise text.make_error("there is more after the list")


def _build_batches(
    path: Path, file_format: str, numbered_values: NumberedValues, batch_size: int
) -> Iterator[pa.RecordBatch]:
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    try:
        for line, value in numbered_values:
            if not isinstance(value, dict):
                raise UserError(
                    f"{path.name}: line {line} is not an object but {_describe_type(value)}"
                )
            objects.append(value)
            lines.append(line)
            if len(objects) == batch_size:
                yield _build_batch(path, objects, lines)
                objects, lines = [], []
    except (ValueError, OSError, RecursionError) as error:
        raise make_read_error(path, file_format, error) from None
    if objects:
        yield _build_batch(path, objects, lines)


READERS = {
    "json": lambda path, rows: _build_batches(path, "json", _iter_array_elements(path), rows),
    "jsonl": lambda path, rows: _build_batches(path, "jsonl", _iter_jsonl_values(path), rows),
}
"""A reader of each kind: of a path, and of how many rows make a batch."""


def _describe_type(value: Any) -> str:
    return _TYPE_NAMES.get(type(value), "null")


def _build_batch(
    path: Path, objects: list[dict[str, Any]], line_numbers: list[int]
) -> pa.RecordBatch:
    arrays = {}
    for column in dict.fromkeys(key for row in objects for key in row):
        values = [row.get(column) for row in objects]
        try:
            arrays[column] = pa.array(values)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise _make_column_error(path, column, values, line_numbers, error) from None
    return pa.RecordBatch.from_pydict(arrays)


def _make_column_error(
    path: Path, column: str, values: list[Any], line_numbers: list[int], error: Exception
) -> UserError:
    """The error for values that make no column, with the first of each type."""
    firsts: dict[str, int] = {}
    for value, line in zip(values, line_numbers, strict=True):
        if value is not None:
            firsts.setdefault(_describe_type(value), line)
    where = f"{path.name}: column {column!r}"
    if len(firsts) > 1:
        seen = ", ".join(f"{name} in line {line}" for name, line in firsts.items())
        return UserError(f"{where} has values of different types: {seen}")
    return UserError(
        f"{where}, lines {line_numbers[0]} to {line_numbers[-1]}: its values make no column: "
        f"{str(error).splitlines()[0][:300]}"
    )

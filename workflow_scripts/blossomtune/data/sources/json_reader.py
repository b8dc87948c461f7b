"""Reader of JSON: a list of objects, or one object per line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from blossomtune.data.sources.json_batches import build_batch, describe_type
from blossomtune.data.sources.json_stream import JsonStream
from blossomtune.data.sources.read_errors import make_read_error
from blossomtune.data.sources.reading_log import ReadingLog
from blossomtune.data.sources.text_encoding import detect_encoding, open_bytes, open_text
from blossomtune.errors import UserError

NumberedValues = Iterator[tuple[int, Any]]
"""Line number and value, or the ValueError of a bad line, in the file's order."""


def read_batches(
    path: Path, kind: str, encoding: str | None, on_bad_line: str, batch_size: int, log: ReadingLog
) -> Iterator[pa.RecordBatch]:
    """Read a file of JSON objects.

    Args:
        path: the file.
        kind: json (a list of objects) or jsonl (one object per line).
        encoding: the configured encoding, or None.
        on_bad_line: ``error``, or ``skip`` to leave out lines that are not valid objects.
        batch_size: maximum rows of a batch.
        log: the log to add the file to.

    Yields:
        The rows in order.

    Raises:
        UserError: if the file is not of its format, with the line.
    """
    detected = [] if encoding else ["encoding"]
    encoding = detect_encoding(path, encoding, is_json=True)
    read_values = _iter_jsonl_values if kind == "jsonl" else _iter_array_elements
    num_skipped = 0
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    try:
        for line, value in read_values(path, encoding):
            if not isinstance(value, dict):
                if on_bad_line == "skip":
                    num_skipped += 1
                    continue
                if isinstance(value, ValueError):
                    raise value
                raise UserError(
                    f"{path.name}: line {line} is not an object but {describe_type(value)}"
                )
            rows.append(value)
            lines.append(line)
            if len(rows) == batch_size:
                batch = build_batch(path, rows, lines, on_bad_line)
                num_skipped += len(rows) - batch.num_rows
                yield batch
                rows, lines = [], []
    except (ValueError, OSError, RecursionError) as error:
        raise make_read_error(path, kind, error) from None
    if rows:
        batch = build_batch(path, rows, lines, on_bad_line)
        num_skipped += len(rows) - batch.num_rows
        yield batch
    log.add(path.name, kind, encoding=encoding, detected=detected, skipped=num_skipped)


def _iter_lines(path: Path, encoding: str) -> Iterator[bytes | str]:
    if encoding.startswith("utf-8"):  # each line is decoded alone, so that one can be bad
        yield from open_bytes(path)
    else:
        yield from open_text(path, encoding, newline="\n")


def _iter_jsonl_values(path: Path, encoding: str) -> NumberedValues:
    is_first = True
    for number, line in enumerate(_iter_lines(path, encoding), 1):
        try:
            text = line.decode(encoding) if isinstance(line, bytes) else line
            if not text.strip():
                continue
            if is_first and text.lstrip().startswith("["):
                raise UserError(
                    f"{path.name} is a JSON array, not one object per line",
                    "say so: format: {kind: json}",
                )
            is_first = False
            yield number, json.loads(text)
        except UnicodeDecodeError:
            yield number, ValueError(f"line {number}: it is not UTF-8")
        except json.JSONDecodeError as error:
            yield number, ValueError(f"line {number}, column {error.colno}: {error.msg}")


def _iter_array_elements(path: Path, encoding: str) -> NumberedValues:
    with open_text(path, encoding) as file:
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

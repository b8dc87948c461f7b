"""JSON: a list of objects, or an object a line."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from blossomtune.data.reading.streams import opened, unreadable
from blossomtune.errors import UserError

_CHUNK = 1 << 20
_SPACE = re.compile(r"[ \t\n\r]*")
_NAMES = {
    dict: "object", list: "list", str: "text", bool: "truth value", int: "number", float: "number"
}  # fmt: skip

Placed = Iterator[tuple[int, Any]]
"""Values, each with the number of the line that it is on."""


def _lines(path: Path) -> Placed:
    with io.BufferedReader(opened(path), _CHUNK) as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode().removeprefix("\ufeff" if number == 1 else "")
                if text.strip():
                    yield number, json.loads(text)
            except UnicodeDecodeError:
                raise ValueError(f"line {number}: it is not UTF-8") from None
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from None


def _elements(path: Path) -> Placed:
    with io.TextIOWrapper(opened(path), encoding="utf-8-sig", newline="") as file:
        text = _Text(file)
        if text.next() != "[":
            raise UserError(
                f"{path.name} is not a list of objects", "an object a line is kind: jsonl"
            )
        text.at += 1
        following = text.next()
        while following != "]":
            yield text.line(), text.value()
            following = text.next()
            if following not in ("]", ","):
                raise text.error("',' or ']' expected")
            if following == ",":
                text.at += 1
                text.next()
        text.at += 1
        if text.next():
            raise text.error("there is more after the list")


class _Text:
    """JSON values of a text that is never in memory as a whole."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.at = file, "", 0
        self.counted, self.lines = 0, 1
        self.decode = json.JSONDecoder().raw_decode

    def line(self) -> int:
        """The number of the line that ``at`` is on."""
        self.lines += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.lines

    def error(self, message: str) -> ValueError:
        return ValueError(f"line {self.line()}: {message}")

    def more(self) -> bool:
        """Reads on, twice as much each time: a long value is not decoded anew too often."""
        self.line()
        rest = self.text[self.at :]
        chunk = self.file.read(max(_CHUNK, len(rest)))
        self.text, self.at, self.counted = rest + chunk, 0, 0
        return bool(chunk)

    def next(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def value(self) -> Any:
        """The value that starts ``at``."""
        while True:
            try:
                value, self.at = self.decode(self.text, self.at)
                return value
            except json.JSONDecodeError as error:
                # close to the end, or in a text without end: the rest may be still to come
                cut = error.pos > len(self.text) - 16 or error.msg.startswith("Unterminated")
                if not (cut and self.more()):
                    self.at = max(self.at, error.pos)
                    raise self.error(error.msg) from None


def _read(path: Path, kind: str, values: Placed, rows: int) -> Iterator[pa.RecordBatch]:
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    try:
        for line, value in values:
            if not isinstance(value, dict):
                raise UserError(f"{path.name}: line {line} is not an object but {_name(value)}")
            objects.append(value)
            lines.append(line)
            if len(objects) == rows:
                yield _batch(path, objects, lines)
                objects, lines = [], []
    except (ValueError, OSError, RecursionError) as error:
        raise unreadable(path, kind, error) from None
    if objects:
        yield _batch(path, objects, lines)


READERS = {
    "json": lambda path, rows: _read(path, "json", _elements(path), rows),
    "jsonl": lambda path, rows: _read(path, "jsonl", _lines(path), rows),
}
"""A reader of each kind: of a path, and of how many rows make a batch."""


def _name(value: Any) -> str:
    return _NAMES.get(type(value), "null")


def _batch(path: Path, objects: list[dict[str, Any]], lines: list[int]) -> pa.RecordBatch:
    arrays = {}
    for column in dict.fromkeys(key for row in objects for key in row):
        values = [row.get(column) for row in objects]
        try:
            arrays[column] = pa.array(values)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise _mixed(path, column, values, lines, error) from None
    return pa.RecordBatch.from_pydict(arrays)


def _mixed(
    path: Path, column: str, values: list[Any], lines: list[int], error: Exception
) -> UserError:
    """The error for values that make no column, with the first of each type."""
    firsts: dict[str, int] = {}
    for value, line in zip(values, lines, strict=True):
        if value is not None:
            firsts.setdefault(_name(value), line)
    where = f"{path.name}: column {column!r}"
    if len(firsts) > 1:
        seen = ", ".join(f"{name} in line {line}" for name, line in firsts.items())
        return UserError(f"{where} has values of different types: {seen}")
    return UserError(
        f"{where}, lines {lines[0]} to {lines[-1]}: its values make no column: "
        f"{str(error).splitlines()[0][:300]}"
    )

"""Incremental JSON decoder for a text that does not fit into memory."""

import json
import re
from typing import Any, TextIO

CHUNK_SIZE = 1 << 20  # characters
_NON_WHITESPACE = re.compile(r"[^ \t\n\r]")


class JsonStream:
    """A JSON text that is read in chunks and decoded value by value.

    Args:
        file: the text, at its start.

    Attributes:
        position: index of the next character in the buffer.
    """

    def __init__(self, file: TextIO) -> None:
        self.position = 0
        self._file, self._buffer = file, ""
        self._counted_position, self._line_number = 0, 1
        self._raw_decode = json.JSONDecoder().raw_decode

    def get_line_number(self) -> int:
        """Return the line number at ``position``, from 1."""
        self._line_number += self._buffer.count("\n", self._counted_position, self.position)
        self._counted_position = self.position
        return self._line_number

    def make_error(self, message: str) -> ValueError:
        """Return an error with the line number at ``position``."""
        return ValueError(f"line {self.get_line_number()}: {message}")

    def peek_char(self) -> str:
        """Skip whitespace and return the next character; empty at the end of the file."""
        while True:
            if match := _NON_WHITESPACE.search(self._buffer, self.position):
                self.position = match.start()
                return match[0]
            self.position = len(self._buffer)
            if not self._read_chunk():
                return ""

    def decode_value(self) -> Any:
        """Decode the value at ``position`` and move behind it.

        Returns:
            The value, as ``json.loads`` returns it.

        Raises:
            ValueError: if the text is not valid JSON, with its line number.
        """
        while True:
            try:
                value, self.position = self._raw_decode(self._buffer, self.position)
                return value
            except json.JSONDecodeError as error:
                # near the buffer's end or in an open string, the rest may follow in the file
                is_cut = error.pos > len(self._buffer) - 16 or error.msg.startswith("Unterminated")
                if not (is_cut and self._read_chunk()):
                    self.position = max(self.position, error.pos)
                    raise self.make_error(error.msg) from None

    def _read_chunk(self) -> bool:
        """Read at least as much as is buffered, so that long values are seldom decoded again."""
        self.get_line_number()
        rest = self._buffer[self.position :]
        chunk = self._file.read(max(CHUNK_SIZE, len(rest)))
        self._buffer, self.position, self._counted_position = rest + chunk, 0, 0
        return bool(chunk)

"""TODO docstring."""

import json
import re
from typing import Any, TextIO

_CHUNK_SIZE = 1 << 20


_WHITESPACE = re.compile(r"[ \t\n\r]*")


class JsonStream:
    """JSON values of a text that is never in memory as a whole."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.buffer, self.position = file, "", 0
        self.counted_position, self.line_number = 0, 1
        self.raw_decode = json.JSONDecoder().raw_decode

    def get_line_number(self) -> int:
        """The number of the line that ``at`` is on."""
        self.line_number += self.buffer.count("\n", self.counted_position, self.position)
        self.counted_position = self.position
        return self.line_number

    def make_error(self, message: str) -> ValueError:
        return ValueError(f"line {self.get_line_number()}: {message}")

    def read_more(self) -> bool:
        """Reads on, twice as much each time: a long value is not decoded anew too often."""
        self.get_line_number()
        rest = self.buffer[self.position :]
        chunk = self.file.read(max(_CHUNK_SIZE, len(rest)))
        self.buffer, self.position, self.counted_position = rest + chunk, 0, 0
        return bool(chunk)

    def peek_char(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            self.position = _WHITESPACE.match(self.buffer, self.position).end()
            if self.position < len(self.buffer):
                return self.buffer[self.position]
            if not self.read_more():
                return ""

    def decode_value(self) -> Any:
        """The value that starts ``at``."""
        while True:
            try:
                value, self.position = self.raw_decode(self.buffer, self.position)
                return value
            except json.JSONDecodeError as error:
                # close to the end, or in a text without end: the rest may be still to come
                cut = error.pos > len(self.buffer) - 16 or error.msg.startswith("Unterminated")
                if not (cut and self.read_more()):
                    self.position = max(self.position, error.pos)
                    raise self.make_error(error.msg) from None

"""Check of the quotation marks of comma-separated text.

Readers accept text after a closing quotation mark and remove the marks, and they accept a mark that
does not end. Either way, rows would not be what the file says.
"""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blossomtune.data.sources.text_encoding import open_text

_MAX_VALUE_LENGTH = 1 << 28  # characters


def find_quoting_error(
    path: Path, encoding: str, delimiter: str, quotechar: str
) -> tuple[int, str] | None:
    """Find the first row of a file whose quotation marks do not match.

    Args:
        path: the file.
        encoding: its encoding.
        delimiter: character between values.
        quotechar: character around quoted values.

    Returns:
        The number of the line in which the row begins, and the problem; None if there is none.
    """
    with open_text(path, encoding) as text, _allow_long_values():
        rows = csv.reader(text, delimiter=delimiter, quotechar=quotechar, strict=True)
        line = 1
        try:
            for _ in rows:
                line = rows.line_num + 1
        except csv.Error as error:
            return line, _describe_error(str(error))
    return None


def _describe_error(message: str) -> str:
    if "end of data" in message:
        return "a row begins whose quotation mark does not end"
    if "expected after" in message:
        return "a row begins where text follows a closing quotation mark"
    return f"a row begins that cannot be read: {message}"


def count_single_quoted_columns(sample: str, delimiter: str) -> int:
    """Count the columns of a text if it can be read with ``'`` and not only with ``"``.

    Args:
        sample: whole lines of a file.
        delimiter: character between values.

    Returns:
        The number of columns if all rows are well-formed with ``'``, of one width, and differ from
        those with ``"``; else 0.
    """
    if not re.search(f"(^|[\\r\\n{re.escape(delimiter)}])'", sample):
        return 0
    readings = []
    for quotechar in ("'", '"'):
        text = io.StringIO(sample, newline="")
        rows = csv.reader(text, delimiter=delimiter, quotechar=quotechar, strict=True)
        with _allow_long_values():
            try:
                readings.append([row for row in rows if row])
            except csv.Error:
                readings.append([])
    single, double = readings
    widths = {len(row) for row in single}
    return widths.pop() if single != double and len(widths) == 1 else 0


@contextmanager
def _allow_long_values() -> Iterator[None]:
    limit = csv.field_size_limit(_MAX_VALUE_LENGTH)
    try:
        yield
    finally:
        csv.field_size_limit(limit)

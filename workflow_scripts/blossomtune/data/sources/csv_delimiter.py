"""Detection of the delimiter of comma-separated text."""

import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from blossomtune.errors import UserError

DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
"""Delimiters that are detected, and their names."""


def detect_delimiter(
    path: Path, sample: str, quotechar: str | None, column_names: Sequence[str] | None
) -> str:
    """Detect the delimiter: the one that gives most rows as many values as the first row has.

    Args:
        path: the file, for messages.
        sample: whole lines of the file.
        quotechar: character around quoted values, or None.
        column_names: names, if there is no header row; their number is that of the values.

    Returns:
        The delimiter; a comma if there is one column only.

    Raises:
        UserError: if several delimiters are equally likely.
    """
    shares, descriptions = {}, []
    for delimiter, name in DELIMITER_NAMES.items():
        num_columns, share = _parse_sample(sample, delimiter, quotechar, column_names)
        if num_columns > 1:
            shares[delimiter] = share
            descriptions.append(f"{name} gives {num_columns} columns in {share:.0%} of the rows")
    if not shares:
        return ","  # one column
    best = [delimiter for delimiter, share in shares.items() if share == max(shares.values())]
    if len(best) > 1:
        raise UserError(
            f"format.delimiter: the delimiter of {path.name} is not clear: "
            + ", ".join(descriptions),
            'format: {delimiter: ";"} says what it is',
        )
    return best[0]


def _parse_sample(
    sample: str, delimiter: str, quotechar: str | None, column_names: Sequence[str] | None
) -> tuple[int, float]:
    """Return the number of columns of the first row, and the share of rows that have as many."""
    num_bad = 0

    def skip(row: csv.InvalidRow) -> str:
        nonlocal num_bad
        num_bad += 1
        return "skip"

    data = sample.encode("utf-8", "replace")
    parse = csv.ParseOptions(
        delimiter=delimiter,
        quote_char=quotechar or False,
        newlines_in_values=True,
        invalid_row_handler=skip,
    )
    read = csv.ReadOptions(column_names=column_names, block_size=len(data) + 1, use_threads=False)
    try:
        table = csv.read_csv(io.BytesIO(data), read, parse)
    except pa.ArrowInvalid:
        return 0, 0.0
    return table.num_columns, table.num_rows / max(table.num_rows + num_bad, 1)

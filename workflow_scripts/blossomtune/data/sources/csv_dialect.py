"""Detection of the dialect of comma-separated text: encoding, delimiter and quotation mark."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv

from blossomtune.config.file_format import FileFormat
from blossomtune.data.sources.csv_quoting import can_be_single_quoted, find_quoting_error
from blossomtune.data.sources.reading_log import ReadingLog
from blossomtune.data.sources.text_encoding import detect_encoding, open_text
from blossomtune.errors import UserError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
"""Delimiters that are detected, and their names."""

_SAMPLE_SIZE = 1 << 20  # characters
_SINGLE_QUOTED_LINE = re.compile(r"'[^'\n]*'([,;\t|]'[^'\n]*')*\r?\n?")


@dataclass(frozen=True)
class CsvDialect:
    """Dialect of a csv or tsv file.

    Attributes:
        kind: csv or tsv.
        encoding: text encoding.
        delimiter: character between values.
        quotechar: character around quoted values, or None.
        detected: keys among these that were not configured.
    """

    kind: str
    encoding: str
    delimiter: str
    quotechar: str | None
    detected: tuple[str, ...] = ()

    @property
    def hint(self) -> str:
        """Hint for a file that cannot be read with this dialect."""
        return (
            f"it was read with the delimiter {_describe(self.delimiter)} and the quotation mark "
            f"{self.quotechar or 'none'}; format.delimiter, format.quotechar and format.columns "
            "say otherwise"
        )

    def add_to(self, log: ReadingLog, file: str) -> None:
        """Add a file with this dialect to a log.

        Args:
            log: the log.
            file: the file's name.
        """
        log.add(
            file,
            self.kind,
            encoding=self.encoding,
            delimiter=self.delimiter,
            quotechar=self.quotechar or "none",
            detected=list(self.detected),
        )


def _describe(delimiter: str) -> str:
    return DELIMITERS.get(delimiter, delimiter)


def detect_dialect(path: Path, kind: str, file_format: FileFormat) -> CsvDialect:
    """Detect those keys of a file's dialect that are not configured, and check its quoting.

    The delimiter is the one that gives the most rows as many values as the first row has. The
    sample is the first million characters.

    Args:
        path: the file.
        kind: csv or tsv.
        file_format: the configured keys.

    Returns:
        The dialect.

    Raises:
        UserError: if a key cannot be detected, or quotation marks do not match.
    """
    encoding = detect_encoding(path, file_format.encoding)
    quotechar, delimiter = file_format.quotechar, file_format.delimiter
    detected = [] if file_format.encoding else ["encoding"]
    if kind == "tsv":
        quotechar, delimiter = quotechar or "none", delimiter or "\t"
    with open_text(path, encoding) as text:
        sample = text.read(_SAMPLE_SIZE)
        if text.read(1):
            sample = sample[: sample.rfind("\n") + 1]
    if quotechar is None:
        detected.append("quotechar")
        quotechar = "'" if _SINGLE_QUOTED_LINE.match(sample) else '"'
    quote = None if quotechar == "none" else quotechar
    if delimiter is None:
        detected.append("delimiter")
        delimiter = _detect_delimiter(path, sample, quote, file_format.columns)
    dialect = CsvDialect(kind, encoding, delimiter, quote, tuple(detected))
    if quote is not None and (error := find_quoting_error(path, encoding, delimiter, quote)):
        raise UserError(
            f"{path.name}: line {error[0]}: {error[1]}",
            f"{dialect.hint}, for example format: {{quotechar: none}}",
        )
    if "quotechar" in detected and quote == '"' and can_be_single_quoted(sample, delimiter):
        raise UserError(
            f"format.quotechar: the quotation mark of {path.name} is not clear: values begin and "
            "end with '",
            "format: {quotechar: \"'\"} removes these, and format: {quotechar: '\"'} keeps them",
        )
    return dialect


def _detect_delimiter(
    path: Path, sample: str, quotechar: str | None, column_names: Sequence[str] | None
) -> str:
    shares, descriptions = {}, []
    for delimiter, name in DELIMITERS.items():
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

    def skip(row: arrow_csv.InvalidRow) -> str:
        nonlocal num_bad
        num_bad += 1
        return "skip"

    data = sample.encode("utf-8", "replace")
    parse = arrow_csv.ParseOptions(
        delimiter=delimiter,
        quote_char=quotechar or False,
        newlines_in_values=True,
        invalid_row_handler=skip,
    )
    read = arrow_csv.ReadOptions(
        column_names=column_names, block_size=len(data) + 1, use_threads=False
    )
    try:
        table = arrow_csv.read_csv(io.BytesIO(data), read, parse)
    except pa.ArrowInvalid:
        return 0, 0.0
    return table.num_columns, table.num_rows / max(table.num_rows + num_bad, 1)

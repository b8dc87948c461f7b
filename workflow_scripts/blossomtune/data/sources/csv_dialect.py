"""Detection of the dialect of comma-separated text: encoding, delimiter and quotation mark."""

import re
from dataclasses import dataclass
from pathlib import Path

from blossomtune.config.file_format import FileFormat
from blossomtune.data.sources.csv_delimiter import DELIMITER_NAMES, detect_delimiter
from blossomtune.data.sources.csv_quoting import count_single_quoted_columns, find_quoting_error
from blossomtune.data.sources.reading_log import ReadingLog
from blossomtune.data.sources.text_encoding import detect_encoding, open_text
from blossomtune.errors import UserError

_SAMPLE_SIZE = 1 << 20  # characters
_SEPARATOR_LINE = re.compile(r'"?sep=([\t -~])"?(\r\n?|\n)', re.IGNORECASE)
_SINGLE_QUOTED_LINE = re.compile(r"'[^'\n]*'([,;\t|]'[^'\n]*')*(?=[\r\n]|\Z)")


@dataclass(frozen=True)
class CsvDialect:
    """Dialect of a csv or tsv file.

    Attributes:
        kind: csv or tsv.
        encoding: text encoding.
        delimiter: character between values.
        quotechar: character around quoted values, or None.
        detected: keys among these that were not configured.
        skip_rows: lines before the header: 1 if the first one is ``sep=;`` for Excel.
    """

    kind: str
    encoding: str
    delimiter: str
    quotechar: str | None
    detected: tuple[str, ...] = ()
    skip_rows: int = 0

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
    return DELIMITER_NAMES.get(delimiter, delimiter)


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
            sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample
    separator_line = _SEPARATOR_LINE.match(sample) if kind == "csv" else None
    if separator_line:
        sample = sample[separator_line.end() :]
    if quotechar is None:
        detected.append("quotechar")
        quotechar = "'" if _SINGLE_QUOTED_LINE.match(sample) else '"'
    quote = None if quotechar == "none" else quotechar
    if delimiter is None:
        detected.append("delimiter")
        if separator_line:
            delimiter = separator_line[1]
        else:
            delimiter = detect_delimiter(path, sample, quote, file_format.columns)
    dialect = CsvDialect(
        kind, encoding, delimiter, quote, tuple(detected), skip_rows=bool(separator_line)
    )
    if quote is not None and (error := find_quoting_error(path, encoding, delimiter, quote)):
        raise UserError(
            f"{path.name}: line {error[0]}: {error[1]}",
            f"{dialect.hint}, for example format: {{quotechar: none}}",
        )
    if "quotechar" in detected and _can_be_single_quoted(sample, dialect, file_format):
        raise UserError(
            f"format.quotechar: the quotation mark of {path.name} is not clear: values begin and "
            "end with '",
            "format: {quotechar: \"'\"} removes these, and format: {quotechar: '\"'} keeps them",
        )
    return dialect


def _can_be_single_quoted(sample: str, dialect: CsvDialect, file_format: FileFormat) -> bool:
    """Return whether a dialect with the quotation mark ``'`` fits the sample as well."""
    if dialect.quotechar == "'":
        return False
    for delimiter in [file_format.delimiter] if file_format.delimiter else DELIMITER_NAMES:
        num_columns = count_single_quoted_columns(sample, delimiter)
        is_table = num_columns > 1 or (num_columns == 1 and delimiter == dialect.delimiter)
        if is_table and num_columns == len(file_format.columns or range(num_columns)):
            return True
    return False

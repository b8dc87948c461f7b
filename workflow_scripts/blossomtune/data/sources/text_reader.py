"""Reader of plain text: one row per file, or one per paragraph."""

from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path

import pyarrow as pa

from blossomtune.data.sources.reading_log import ReadingLog
from blossomtune.data.sources.text_encoding import detect_encoding, open_text
from blossomtune.errors import UserError

_MAX_LENGTH = 1 << 28  # characters
_BATCH_LENGTH = 1 << 23  # characters
_NUM_LINES_CHECKED = 100


def read_batches(
    path: Path, encoding: str | None, rows: str, batch_size: int, log: ReadingLog
) -> Iterator[pa.RecordBatch]:
    """Read a text as rows with the column ``text``.

    Lines end with a newline, whatever their ends in the file. Blank lines at the start and end of
    a text are removed. Texts and paragraphs without any other character than spaces are skipped.

    Args:
        path: the file.
        encoding: the configured encoding, or None.
        rows: ``file`` or ``paragraph``.
        batch_size: maximum rows of a batch.
        log: the log to add the file to.

    Yields:
        The rows in order; one batch without rows if the file has none.

    Raises:
        UserError: if the encoding does not fit, or a text is too long.
    """
    detected = [] if encoding else ["encoding"]
    encoding = detect_encoding(path, encoding)
    texts = _iter_paragraphs(path, encoding) if rows == "paragraph" else _iter_text(path, encoding)
    pending: list[str] = []
    length = num_rows = num_skipped = 0
    for text in texts:
        if not text:
            num_skipped += 1
            continue
        num_rows, length = num_rows + 1, length + len(text)
        pending.append(text)
        if len(pending) == batch_size or length > _BATCH_LENGTH:
            yield _make_batch(pending)
            pending, length = [], 0
    if pending or not num_rows:
        yield _make_batch(pending)
    log.add(path.name, "text", encoding=encoding, detected=detected, skipped=num_skipped)


def _make_batch(texts: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(texts, pa.string())], ["text"])


def _iter_text(path: Path, encoding: str) -> Iterator[str]:
    """Yield a whole text; empty if it is blank."""
    with open_text(path, encoding, newline=None) as file:
        lines = _require_short(path, file.read(_MAX_LENGTH + 1)).split("\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    yield "\n".join(lines[filled[0] : filled[-1] + 1]) if filled else ""


def _iter_paragraphs(path: Path, encoding: str) -> Iterator[str]:
    """Yield paragraphs, which blank lines separate; one empty text for a file without any."""
    is_empty = True
    with open_text(path, encoding, newline=None) as file:
        for has_text, lines in groupby(file, lambda line: bool(line.strip())):
            if has_text:
                is_empty = False
                yield _require_short(path, "".join(lines)).removesuffix("\n")
    if is_empty:
        yield ""


def _require_short(path: Path, text: str) -> str:
    if len(text) > _MAX_LENGTH:
        raise UserError(
            f"{path.name}: a row is longer than {_MAX_LENGTH >> 20} million characters",
            "format: {rows: paragraph} makes a row of each paragraph",
        )
    return text


def require_no_table(path: Path, encoding: str | None) -> None:
    """Raise UserError if all lines of a text have as many tabs, as those of a table do.

    Args:
        path: a file whose format is known by its suffix only.
        encoding: the configured encoding, or None.
    """
    with open_text(path, detect_encoding(path, encoding), newline=None) as file:
        lines = [line for line in islice(file, _NUM_LINES_CHECKED) if line.strip()]
    counts = {line.count("\t") for line in lines}
    if len(lines) > 1 and len(counts) == 1 and counts != {0}:
        raise UserError(
            f"{path.name} is plain text by its name, but its lines are tab-separated values",
            "say what it is: format: {kind: tsv}, or format: {kind: text}",
        )

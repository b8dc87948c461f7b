"""Readers of all file formats, plain or compressed; Parquet writer."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import parquet

from blossomtune.config.file_format import FileFormat
from blossomtune.data.sources import (
    arrow_reader,
    class_labels,
    csv_reader,
    json_reader,
    text_reader,
    xlsx_reader,
)
from blossomtune.data.sources.compression import detect_compression, open_decompressed
from blossomtune.data.sources.csv_dialect import detect_dialect
from blossomtune.data.sources.format_names import require_format
from blossomtune.data.sources.read_errors import make_read_error
from blossomtune.data.sources.reading_log import ReadingLog
from blossomtune.errors import UserError

ROWS_PER_BATCH = 10_000
"""Maximum rows of a batch, and rows of a row group."""


def read_files(
    paths: Sequence[Path], file_format: FileFormat | None = None, log: ReadingLog | None = None
) -> Iterator[tuple[Path, pa.RecordBatch]]:
    """Read the files of a data set batch by batch.

    A column of csv or tsv files is numeric if it is numeric in every file; otherwise it stays text
    as written. The types of json and jsonl columns are those of the batch.

    Args:
        paths: the files.
        file_format: the keys of a data set's ``format``; None for their defaults.
        log: the log to add each file to when all of its rows are read.

    Yields:
        A file and up to ``ROWS_PER_BATCH`` of its rows, in normalized types (see
        ``arrow_reader.normalize_batch``), with the metadata that ``ClassLabelDecoder`` needs. A
        file that has columns but no rows yields one batch without rows.

    Raises:
        UserError: if a file is not of its format, with the line or row if it is known.
    """
    file_format, log = file_format or FileFormat(), log or ReadingLog()
    kinds = {path: file_format.kind or require_format(path) for path in paths}
    dialects = {}
    for path, kind in kinds.items():
        with _convert_errors(path, kind):
            if kind in ("csv", "tsv"):
                dialects[path] = detect_dialect(path, kind, file_format)
            elif kind == "text" and file_format.kind is None:
                text_reader.require_no_table(path, file_format.encoding)
    column_types = csv_reader.infer_column_types(dialects, file_format.columns)
    for path in paths:
        if path in dialects:
            dialect = dialects[path]
            batches = csv_reader.read_batches(path, dialect, file_format.columns, column_types)
            dialect.add_to(log, path.name)
        else:
            batches = _read_batches(path, kinds[path], file_format, log)
        names: list[str] | None = None
        for batch in batches:
            if names != batch.schema.names:
                names = batch.schema.names
                if repeated := sorted({repr(c) for c in names if names.count(c) > 1}):
                    raise UserError(f"{path.name} has more than one column {', '.join(repeated)}")
            for start in range(0, batch.num_rows or 1, ROWS_PER_BATCH):
                normalized = arrow_reader.normalize_batch(batch.slice(start, ROWS_PER_BATCH))
                yield path, class_labels.copy_metadata(batch.schema, normalized)


@contextmanager
def _convert_errors(path: Path, kind: str) -> Iterator[None]:
    """Convert errors of files that are missing, damaged or of another format to UserError."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise make_read_error(path, kind, error) from None


def _read_batches(
    path: Path, kind: str, file_format: FileFormat, log: ReadingLog
) -> Iterator[pa.RecordBatch]:
    """Read a file of any format but csv and tsv."""
    encoding = file_format.encoding
    with _convert_errors(path, kind):
        if kind in ("json", "jsonl"):
            on_bad_line = file_format.on_bad_line if kind == "jsonl" else "error"
            yield from json_reader.read_batches(
                path, kind, encoding, on_bad_line, ROWS_PER_BATCH, log
            )
        elif kind == "text":
            yield from text_reader.read_batches(
                path, encoding, file_format.rows, ROWS_PER_BATCH, log
            )
        else:
            with _open_seekable(path) as source:
                if kind == "xlsx":
                    yield from xlsx_reader.read_batches(path, source, file_format, log)
                else:
                    yield from arrow_reader.READERS[kind](source, ROWS_PER_BATCH)
                    log.add(path.name, kind)


@contextmanager
def _open_seekable(path: Path) -> Iterator[IO[bytes] | str]:
    """Yield a file's path, or the content of a compressed file after decompressing it to disk."""
    if not detect_compression(path):
        yield str(path)
        return
    with tempfile.TemporaryFile() as decompressed:
        with open_decompressed(path) as content:
            shutil.copyfileobj(content, decompressed)
        decompressed.seek(0)
        yield decompressed


def write_parquet(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path) -> int:
    """Write a Parquet file in row groups of ``ROWS_PER_BATCH`` rows, compressed by zstd.

    The bytes depend on the rows only, not on the sizes of the batches.

    Args:
        batches: the rows, in batches of any size.
        schema: the schema of every batch; its metadata is not written.
        path: the file to write.

    Returns:
        The number of rows.

    Raises:
        UserError: if Parquet does not support a column's type.
    """
    schema = schema.remove_metadata()
    rows_written = rows_pending = 0
    pending: list[pa.RecordBatch] = []
    try:
        writer = parquet.ParquetWriter(path, schema, compression="zstd")
    except pa.ArrowNotImplementedError as error:
        raise UserError(
            f"these rows cannot be kept: {str(error).split('.')[0]}",
            "leave that column out: columns: [those that are needed]",
        ) from None
    with writer:

        def write_row_group() -> None:
            writer.write_table(pa.Table.from_batches(pending, schema).combine_chunks())

        for batch in batches:
            rest = batch.replace_schema_metadata(None)
            while rows_pending + rest.num_rows >= ROWS_PER_BATCH:
                num_missing = ROWS_PER_BATCH - rows_pending
                pending.append(rest.slice(0, num_missing))
                write_row_group()
                rows_written, rest = rows_written + ROWS_PER_BATCH, rest.slice(num_missing)
                pending, rows_pending = [], 0
            if rest.num_rows:
                pending.append(rest)
                rows_pending += rest.num_rows
        if pending:
            write_row_group()
    return rows_written + rows_pending

"""Readers of csv, tsv, json, jsonl, parquet and arrow, plain or compressed; Parquet writer."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import parquet

from blossomtune.data.sources import arrow_reader, class_labels, csv_reader, json_reader
from blossomtune.data.sources.compression import detect_compression, open_decompressed
from blossomtune.data.sources.read_errors import make_read_error
from blossomtune.errors import UserError

ROWS_PER_BATCH = 10_000
"""Maximum rows of a batch, and rows of a row group."""

_FORMAT_BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
}


def infer_format(name: str) -> str | None:
    """Return the format by the suffix of a file's name, or None if it is unknown."""
    name = name.lower().removesuffix(".gz").removesuffix(".zst")
    return next((kind for suffix, kind in _FORMAT_BY_SUFFIX.items() if name.endswith(suffix)), None)


def read_files(
    paths: Sequence[Path], file_format: str | None, column_names: Sequence[str] | None = None
) -> Iterator[tuple[Path, pa.RecordBatch]]:
    """Read the files of a data set batch by batch.

    A column of csv or tsv files is numeric if it is numeric in every file; otherwise it stays text
    as written. The types of json and jsonl columns are those of the batch.

    Args:
        paths: the files.
        file_format: csv, tsv, json (a list of objects), jsonl (one object per line), parquet or
            arrow; None for the format by each file's suffix.
        column_names: names for csv and tsv files without a header line.

    Yields:
        A file and up to ``ROWS_PER_BATCH`` of its rows, in normalized types (see
        ``arrow_reader.normalize_batch``), with the metadata that ``ClassLabelDecoder`` needs. A
        file that has columns but no rows yields one batch without rows.

    Raises:
        UserError: if a file is not of its format, with the line or row if it is known.
    """
    formats = [(path, file_format or _require_format(path)) for path in paths]
    csv_files = [(path, kind) for path, kind in formats if kind in csv_reader.FORMATS]
    column_types = csv_reader.infer_column_types(csv_files, column_names)
    for path, kind in formats:
        names: list[str] | None = None
        for batch in _read_batches(path, kind, column_names, column_types):
            if names != batch.schema.names:
                names = batch.schema.names
                if repeated := sorted({repr(c) for c in names if names.count(c) > 1}):
                    raise UserError(f"{path.name} has more than one column {', '.join(repeated)}")
            for start in range(0, batch.num_rows or 1, ROWS_PER_BATCH):
                normalized = arrow_reader.normalize_batch(batch.slice(start, ROWS_PER_BATCH))
                yield path, class_labels.copy_metadata(batch.schema, normalized)


def _require_format(path: Path) -> str:
    file_format = infer_format(path.name)
    if file_format is None:
        raise UserError(
            f"{path.name} ends in no format that is known: {', '.join(_FORMAT_BY_SUFFIX)}, "
            "each also with .gz or .zst",
            "format: {kind: …} says what it is, whatever its name",
        )
    return file_format


def _read_batches(
    path: Path,
    file_format: str,
    column_names: Sequence[str] | None,
    column_types: dict[str, pa.DataType],
) -> Iterator[pa.RecordBatch]:
    if file_format in csv_reader.FORMATS:
        return csv_reader.read_batches(path, file_format, column_names, column_types)
    if file_format in json_reader.READERS:
        return json_reader.READERS[file_format](path, ROWS_PER_BATCH)
    return _read_arrow_file(path, file_format)


def _read_arrow_file(path: Path, file_format: str) -> Iterator[pa.RecordBatch]:
    """Read a file by random access; a compressed one is decompressed to disk first."""
    with tempfile.TemporaryFile() as decompressed:
        try:
            source: IO[bytes] | str = str(path)
            if detect_compression(path):
                with open_decompressed(path) as content:
                    shutil.copyfileobj(content, decompressed)
                decompressed.seek(0)
                source = decompressed
            yield from arrow_reader.READERS[file_format](source, ROWS_PER_BATCH)
        except (pa.ArrowException, OSError) as error:
            raise make_read_error(path, file_format, error) from None


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

"""Files as rows: csv, tsv, json, jsonl, parquet and arrow, plain or compressed by gzip or zstd."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import parquet

from blossomtune.data.sources import arrow_reader, csv_reader, json_reader
from blossomtune.data.sources.compression import detect_compression, open_decompressed
from blossomtune.data.sources.read_errors import make_read_error
from blossomtune.errors import UserError

ROWS_PER_BATCH = 10_000
"""Rows of a batch and of a row group, everywhere."""

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
    """The kind that a file's name ends in, or None where it ends in no known one."""
    plain = name.lower().removesuffix(".gz").removesuffix(".zst")
    return next(
        (kind for ending, kind in _FORMAT_BY_SUFFIX.items() if plain.endswith(ending)), None
    )


def read_files(
    paths: Sequence[Path], file_format: str | None, column_names: Sequence[str] | None = None
) -> Iterator[tuple[Path, pa.RecordBatch]]:
    """Reads the files of a data set, a batch at a time.

    A column of csv or tsv holds numbers where it does so in every file; all else stays text as
    written. Of json and jsonl the types are those of the batch at hand.

    Args:
        paths: the files.
        kind: csv, tsv, json (a list of objects), jsonl (an object a line), parquet or arrow; None
            goes by what each file's name ends in.
        columns: names for csv and tsv files that have no header line.

    Yields:
        A file and up to ``ROWS`` of its rows, without metadata, in types that have one spelling
        (see ``columnar.plain``). A file without rows gives a batch without rows where it says
        what its columns are.

    Raises:
        UserError: where a file is not of that kind, with its line or row where that is known.
    """
    kinds = [(path, file_format or _require_format(path)) for path in paths]
    texts = [(path, given) for path, given in kinds if given in csv_reader.FORMATS]
    types = csv_reader.infer_column_types(texts, column_names)
    for path, given in kinds:
        names: list[str] | None = None
        for batch in _read_batches(path, given, column_names, types):
            if names != batch.schema.names:
                names = batch.schema.names
                if repeated := sorted({repr(c) for c in names if names.count(c) > 1}):
                    raise UserError(f"{path.name} has more than one column {', '.join(repeated)}")
            for start in range(0, batch.num_rows or 1, ROWS_PER_BATCH):
                yield path, arrow_reader.normalize_batch(batch.slice(start, ROWS_PER_BATCH))


def _require_format(path: Path) -> str:
    kind = infer_format(path.name)
    if kind is None:
        raise UserError(
            f"{path.name} ends in no format that is known: {', '.join(_FORMAT_BY_SUFFIX)}, each also "
            "with .gz or .zst",
            "format: {kind: …} says what it is, whatever its name",
        )
    return kind


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
    """Files that are read from several places at once; a compressed one is unpacked first."""
    with tempfile.TemporaryFile() as unpacked:
        try:
            source: IO[bytes] | str = str(path)
            if detect_compression(path):
                with open_decompressed(path) as content:
                    shutil.copyfileobj(content, unpacked)
                unpacked.seek(0)
                source = unpacked
            yield from arrow_reader.READERS[file_format](source, ROWS_PER_BATCH)
        except (pa.ArrowException, OSError) as error:
            raise make_read_error(path, file_format, error) from None


def write_parquet(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path) -> int:
    """Writes rows in row groups of ``ROWS``, compressed by zstd.

    Args:
        batches: the rows, in batches of any size.
        schema: of every batch; its metadata is left out.
        path: the file to write.

    Returns:
        How many rows there were. The same rows give the same bytes, however they came in batches.

    Raises:
        UserError: where a column has a type that parquet does not know.
    """
    schema = schema.remove_metadata()
    written = waiting = 0
    group: list[pa.RecordBatch] = []
    try:
        writer = parquet.ParquetWriter(path, schema, compression="zstd")
    except pa.ArrowNotImplementedError as error:
        raise UserError(
            f"these rows cannot be kept: {str(error).split('.')[0]}",
            "leave that column out: columns: [those that are needed]",
        ) from None
    with writer as file:

        def write() -> None:
            file.write_table(pa.Table.from_batches(group, schema).combine_chunks())

        for batch in batches:
            rest = batch.replace_schema_metadata(None)
            while waiting + rest.num_rows >= ROWS_PER_BATCH:
                group.append(rest.slice(0, ROWS_PER_BATCH - waiting))
                write()
                written, rest = written + ROWS_PER_BATCH, rest.slice(ROWS_PER_BATCH - waiting)
                group, waiting = [], 0
            if rest.num_rows:
                group.append(rest)
                waiting += rest.num_rows
        if group:
            write()
    return written + waiting

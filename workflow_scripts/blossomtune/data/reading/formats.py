"""Files as rows: csv, tsv, json, jsonl, parquet and arrow, plain or compressed by gzip or zstd."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import parquet

from blossomtune.data.reading import columnar, delimited, objects
from blossomtune.data.reading.streams import compression, opened, unreadable
from blossomtune.errors import UserError

ROWS = 10_000
"""Rows of a batch and of a row group, everywhere."""

_ENDINGS = {
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


def kind_of(name: str) -> str | None:
    """The kind that a file's name ends in, or None where it ends in no known one."""
    plain = name.lower().removesuffix(".gz").removesuffix(".zst")
    return next((kind for ending, kind in _ENDINGS.items() if plain.endswith(ending)), None)


def read(
    paths: Sequence[Path], kind: str | None, columns: Sequence[str] | None = None
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
    kinds = [(path, kind or _by_name(path)) for path in paths]
    texts = [(path, given) for path, given in kinds if given in delimited.KINDS]
    types = delimited.types(texts, columns)
    for path, given in kinds:
        names: list[str] | None = None
        for batch in _batches(path, given, columns, types):
            if names != batch.schema.names:
                names = batch.schema.names
                if repeated := sorted({repr(c) for c in names if names.count(c) > 1}):
                    raise UserError(f"{path.name} has more than one column {', '.join(repeated)}")
            for start in range(0, batch.num_rows or 1, ROWS):
                yield path, columnar.plain(batch.slice(start, ROWS))


def _by_name(path: Path) -> str:
    kind = kind_of(path.name)
    if kind is None:
        raise UserError(
            f"{path.name} ends in no format that is known: {', '.join(_ENDINGS)}, each also "
            "with .gz or .zst",
            "format: {kind: …} says what it is, whatever its name",
        )
    return kind


def _batches(
    path: Path, kind: str, columns: Sequence[str] | None, types: dict[str, pa.DataType]
) -> Iterator[pa.RecordBatch]:
    if kind in delimited.KINDS:
        return delimited.read(path, kind, columns, types)
    if kind in objects.READERS:
        return objects.READERS[kind](path, ROWS)
    return _columnar(path, kind)


def _columnar(path: Path, kind: str) -> Iterator[pa.RecordBatch]:
    """Files that are read from several places at once; a compressed one is unpacked first."""
    with tempfile.TemporaryFile() as unpacked:
        try:
            source: IO[bytes] | str = str(path)
            if compression(path):
                with opened(path) as content:
                    shutil.copyfileobj(content, unpacked)
                unpacked.seek(0)
                source = unpacked
            yield from columnar.READERS[kind](source, ROWS)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, kind, error) from None


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
            while waiting + rest.num_rows >= ROWS:
                group.append(rest.slice(0, ROWS - waiting))
                write()
                written, rest = written + ROWS, rest.slice(ROWS - waiting)
                group, waiting = [], 0
            if rest.num_rows:
                group.append(rest)
                waiting += rest.num_rows
        if group:
            write()
    return written + waiting

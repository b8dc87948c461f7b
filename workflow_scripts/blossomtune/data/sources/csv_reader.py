"""Comma- and tab-separated text.

A column holds numbers where it does so in every file; all else stays text as written, also what
looks like a date or a truth value: templates should show what is in the file.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from blossomtune.data.sources.compression import open_decompressed
from blossomtune.data.sources.read_errors import make_read_error
from blossomtune.errors import UserError

FORMATS = ("csv", "tsv")

_INITIAL_BLOCK_SIZE = 1 << 20
_MAX_ROW_BYTES = 1 << 28
"""Bytes of a row, at most."""
_NULL_VALUES = pa.array(csv.ConvertOptions().null_values)

ColumnTypes = dict[str, pa.DataType]


def infer_column_types(
    files: Iterable[tuple[Path, str]], column_names: Sequence[str] | None
) -> ColumnTypes:
    """The narrowest type that holds a column's values in all files: int64, float64 or string.

    Args:
        files: paths and kinds.
        columns: names for files that have no header line.

    Returns:
        The type of every column; string where a column has no value at all.
    """
    narrowest: ColumnTypes = {}
    for path, kind in files:
        for batch in read_batches(path, kind, column_names, {}):
            for name, values in zip(batch.schema.names, batch.columns, strict=True):
                narrowest[name] = _infer_narrowest_type(values, narrowest.get(name, pa.null()))
            if all(narrowest[name] == pa.string() for name in batch.schema.names):
                break  # no later row can change that
    return {name: pa.string() if kind == pa.null() else kind for name, kind in narrowest.items()}


def _infer_narrowest_type(values: pa.Array, current_type: pa.DataType) -> pa.DataType:
    """The narrowest type, no narrower than ``known``, that can hold these texts."""
    if current_type == pa.string():
        return current_type
    values = pc.utf8_trim_whitespace(values)
    values = values.filter(pc.invert(pc.is_in(values, _NULL_VALUES)))
    if not len(values):
        return current_type
    for kind in (pa.int64(), pa.float64()):
        if kind == pa.int64() and current_type == pa.float64():
            continue
        try:
            values.cast(kind)
            return kind
        except pa.ArrowInvalid:
            pass
    return pa.string()


def read_batches(
    path: Path, file_format: str, column_names: Sequence[str] | None, column_types: ColumnTypes
) -> Iterator[pa.RecordBatch]:
    """Rows of a file, a block at a time.

    Args:
        path: the file.
        kind: csv or tsv.
        columns: names, where it has no header line.
        types: of its columns; text where none is given.

    Raises:
        UserError: with the row, where a row has another number of values than the first.
    """
    done, block = 0, _INITIAL_BLOCK_SIZE
    while True:
        try:
            rows = 0
            reader = _open_reader(path, file_format, column_names, column_types, block)
            for batch in reader:
                rows += batch.num_rows
                if rows > done:
                    yield batch.slice(batch.num_rows - (rows - done))
                    done = rows
            if not done:
                yield pa.RecordBatch.from_pylist([], reader.schema)
            return
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if "straddl" not in str(error):
                reason = str(error).removeprefix("CSV parse error: ").replace("Row #", "row ")
                raise make_read_error(path, file_format, reason) from None
            if block >= _MAX_ROW_BYTES:
                row = done + 1 + (column_names is None)  # as pyarrow counts them: the header, too
                raise UserError(
                    f"{path.name}: row {row} is longer than {_MAX_ROW_BYTES >> 20} MB",
                    "is there a quotation mark that does not end?",
                ) from None
            block *= 16  # a row must fit into a block; go on after the rows that there were


# Tab-separated text knows no quoting: a quotation mark in it is just that.
_PARSE_OPTIONS = {
    "csv": csv.ParseOptions(newlines_in_values=True),
    "tsv": csv.ParseOptions(delimiter="\t", quote_char=False),
}


def _open_reader(
    path: Path,
    file_format: str,
    column_names: Sequence[str] | None,
    column_types: ColumnTypes,
    block_size: int,
) -> csv.CSVStreamingReader:
    # with one thread, errors know their row
    options = csv.ReadOptions(column_names=column_names, block_size=block_size, use_threads=False)
    with csv.open_csv(open_decompressed(path), options, _PARSE_OPTIONS[file_format]) as reader:
        given = {name: column_types.get(name, pa.string()) for name in reader.schema.names}
    convert = csv.ConvertOptions(column_types=given)
    return csv.open_csv(open_decompressed(path), options, _PARSE_OPTIONS[file_format], convert)

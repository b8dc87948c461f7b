"""Reader of delimiter-separated text.

A column is numeric if all of its values in all files are. Everything else stays text as written,
also dates and truth values: templates show the text of the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from blossomtune.data.sources.compression import open_decompressed
from blossomtune.data.sources.csv_dialect import CsvDialect
from blossomtune.data.sources.read_errors import make_read_error
from blossomtune.errors import UserError

_INITIAL_BLOCK_SIZE = 1 << 20
_MAX_ROW_BYTES = 1 << 28
"""Maximum size of a row, in bytes."""
_NULL_VALUES = pa.array(csv.ConvertOptions().null_values)

ColumnTypes = dict[str, pa.DataType]


def infer_column_types(
    dialects: Mapping[Path, CsvDialect], column_names: Sequence[str] | None
) -> ColumnTypes:
    """Infer the narrowest type of each column over all files: int64, float64 or string.

    Args:
        dialects: dialect of each file.
        column_names: names for files without a header line.

    Returns:
        The type of each column; string for a column without values.
    """
    narrowest: ColumnTypes = {}
    for path, dialect in dialects.items():
        for batch in read_batches(path, dialect, column_names, {}):
            for name, values in zip(batch.schema.names, batch.columns, strict=True):
                narrowest[name] = _infer_narrowest_type(values, narrowest.get(name, pa.null()))
            if all(narrowest[name] == pa.string() for name in batch.schema.names):
                break  # later rows cannot change the types
    return {name: pa.string() if type_ == pa.null() else type_ for name, type_ in narrowest.items()}


def _infer_narrowest_type(values: pa.Array, current_type: pa.DataType) -> pa.DataType:
    """Return the narrowest type, no narrower than ``current_type``, that can hold these texts."""
    if current_type == pa.string():
        return current_type
    values = pc.utf8_trim_whitespace(values)
    values = values.filter(pc.invert(pc.is_in(values, _NULL_VALUES)))
    if not len(values):
        return current_type
    for type_ in (pa.int64(), pa.float64()):
        if type_ == pa.int64() and current_type == pa.float64():
            continue
        try:
            values.cast(type_)
            return type_
        except pa.ArrowInvalid:
            pass
    return pa.string()


def read_batches(
    path: Path, dialect: CsvDialect, column_names: Sequence[str] | None, column_types: ColumnTypes
) -> Iterator[pa.RecordBatch]:
    """Read a file block by block.

    Args:
        path: the file.
        dialect: its dialect.
        column_names: names, if the file has no header line.
        column_types: types of its columns; string for those without one.

    Yields:
        The rows in order; one batch without rows if the file has none.

    Raises:
        UserError: if a row has another number of values than the first, with its number, or the
            file cannot be read.
    """
    rows_yielded, block_size = 0, _INITIAL_BLOCK_SIZE
    while True:
        try:
            rows_read = 0
            reader = _open_reader(path, dialect, column_names, column_types, block_size)
            for batch in reader:
                rows_read += batch.num_rows
                if rows_read > rows_yielded:
                    yield batch.slice(batch.num_rows - (rows_read - rows_yielded))
                    rows_yielded = rows_read
            if not rows_yielded:
                yield pa.RecordBatch.from_pylist([], reader.schema)
            return
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if "straddl" not in str(error):
                reason = str(error).removeprefix("CSV parse error: ").replace("Row #", "row ")
                raise make_read_error(path, dialect.kind, reason, dialect.hint) from None
            if block_size >= _MAX_ROW_BYTES:
                # pyarrow counts the header line, too
                row = rows_yielded + 1 + (column_names is None) + dialect.skip_rows
                raise UserError(
                    f"{path.name}: row {row} is longer than {_MAX_ROW_BYTES >> 20} MB", dialect.hint
                ) from None
            block_size *= 16  # a row must fit into a block; resume after the rows yielded


def _open_reader(
    path: Path,
    dialect: CsvDialect,
    column_names: Sequence[str] | None,
    column_types: ColumnTypes,
    block_size: int,
) -> csv.CSVStreamingReader:
    # only the single-threaded reader reports row numbers
    read_options = csv.ReadOptions(
        column_names=column_names,
        skip_rows=dialect.skip_rows,
        block_size=block_size,
        use_threads=False,
    )
    parse_options = csv.ParseOptions(
        delimiter=dialect.delimiter,
        quote_char=dialect.quotechar or False,
        newlines_in_values=dialect.quotechar is not None,
    )
    with csv.open_csv(_open_utf8(path, dialect), read_options, parse_options) as reader:
        types = {name: column_types.get(name, pa.string()) for name in reader.schema.names}
    convert = csv.ConvertOptions(column_types=types)
    return csv.open_csv(_open_utf8(path, dialect), read_options, parse_options, convert)


def _open_utf8(path: Path, dialect: CsvDialect) -> pa.NativeFile:
    file = open_decompressed(path)
    if dialect.encoding.startswith("utf-8"):
        return file
    return pa.transcoding_input_stream(file, dialect.encoding, "utf8")

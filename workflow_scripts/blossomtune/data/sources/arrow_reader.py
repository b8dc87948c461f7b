"""Readers of Parquet and Arrow files, and normalization of Arrow types."""

from collections.abc import Iterator
from typing import IO

import pyarrow as pa
from pyarrow import ipc, parquet

_BUFFER_SIZE = 1 << 20


def _read_parquet(source: IO[bytes] | str, batch_size: int) -> Iterator[pa.RecordBatch]:
    # pre-buffered data would stay in memory until the end of the file
    with parquet.ParquetFile(source, buffer_size=_BUFFER_SIZE, pre_buffer=False) as file:
        yield pa.RecordBatch.from_pylist([], file.schema_arrow)
        yield from file.iter_batches(batch_size)


def _read_arrow(source: IO[bytes] | str, batch_size: int) -> Iterator[pa.RecordBatch]:
    """Read Arrow IPC files and streams; `datasets` writes streams."""
    # not memory-mapped: the pages of a large file would count as memory of this process
    with pa.OSFile(source) if isinstance(source, str) else pa.PythonFile(source) as file:
        magic = file.read(6)
        file.seek(0)
        if magic == b"ARROW1":
            reader = ipc.open_file(file)
            yield pa.RecordBatch.from_pylist([], reader.schema)
            yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            with ipc.open_stream(file) as stream:
                yield pa.RecordBatch.from_pylist([], stream.schema)
                yield from stream


READERS = {"parquet": _read_parquet, "arrow": _read_arrow}
"""Reader per format, called with source and rows per batch (Arrow files keep their batches).

The first batch has no rows and defines the columns."""


def normalize_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cast a batch to normalized types, without metadata.

    Text becomes string, bytes binary and lists list, whatever the width of their offsets.
    Dictionary types become their value type, extension types their storage type. Every field is
    nullable. A struct column without fields becomes a null column.

    Args:
        batch: any rows.

    Returns:
        The same rows; the batch itself if its types are normalized already.
    """
    for i, field in enumerate(batch.schema):
        if pa.types.is_struct(field.type) and not field.type.num_fields:  # not supported by Parquet
            batch = batch.set_column(i, field.name, pa.nulls(batch.num_rows))
    schema = pa.schema([pa.field(f.name, normalize_type(f.type)) for f in batch.schema])
    return batch if batch.schema.equals(schema, check_metadata=True) else batch.cast(schema)


def normalize_type(data_type: pa.DataType) -> pa.DataType:
    """Return the normalized form of an Arrow type (see ``normalize_batch``)."""
    is_ = pa.types
    if isinstance(data_type, pa.BaseExtensionType):
        return normalize_type(data_type.storage_type)
    if is_.is_dictionary(data_type) or is_.is_run_end_encoded(data_type):
        return normalize_type(data_type.value_type)
    if is_.is_large_string(data_type) or is_.is_string_view(data_type):
        return pa.string()
    if is_.is_large_binary(data_type) or is_.is_binary_view(data_type):
        return pa.binary()
    if is_.is_struct(data_type):
        return pa.struct([pa.field(f.name, normalize_type(f.type)) for f in data_type])
    if (
        is_.is_list(data_type)
        or is_.is_large_list(data_type)
        or is_.is_fixed_size_list(data_type)
        or is_.is_list_view(data_type)
        or is_.is_large_list_view(data_type)
    ):
        return pa.list_(normalize_type(data_type.value_type))
    return data_type

"""Table on disk that is read in order or by row index."""

import mmap
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from blossomtune.data.preparation.schemas import cast_to_schema, unify_schemas
from blossomtune.data.sources.arrow_reader import normalize_batch
from blossomtune.data.sources.file_formats import ROWS_PER_BATCH

_MAX_BYTES_IN_MEMORY = 16 << 20
"""Approximate limit of the bytes in memory at a time."""


class DiskTable:
    """An append-only table in Arrow files, mapped into memory part by part.

    Args:
        folder: the folder for the table's files only; it is created if missing.

    Attributes:
        num_rows: number of rows appended.
        schema: unified schema of all batches; columns are nullable, and null where a batch has no
            such column.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.num_rows, self.schema = 0, pa.schema([])
        self._folder = folder
        self._files: list[_ArrowFile] = []
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self._pending_batches: list[pa.RecordBatch] = []
        self._num_rows_written = 0

    def append(self, batch: pa.RecordBatch) -> None:
        """Append rows.

        Args:
            batch: the rows; their columns may differ from those of earlier batches.

        Raises:
            UserError: if a column's type is incompatible with its type so far.
        """
        batch = normalize_batch(batch)
        schema = unify_schemas(self.schema, batch.schema)
        if not schema.equals(self.schema):
            self._close_file()
            self.schema = schema
        if batch.num_rows:
            self._pending_batches.append(cast_to_schema(batch, schema))
            self.num_rows += batch.num_rows
            if self.num_rows - self._num_rows_written >= ROWS_PER_BATCH:
                self._flush()

    def iter_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, with some columns or all (None)."""
        self._close_file()
        schema = self._select_schema(columns)
        for file in self._files:
            for i in range(len(file.batch_sizes)):
                yield cast_to_schema(file.read_batch(i, schema.names), schema)

    def take(
        self, row_indices: np.ndarray, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows by index.

        Rows of several output batches are looked up together, so that each stored batch is read
        once for all of them; then they are reordered.

        Args:
            row_indices: shape (N,), integers in [0, num_rows), in any order.
            columns: the columns to read; None for all.

        Yields:
            The rows in the order of ``row_indices``, at most ``ROWS_PER_BATCH`` per batch.
        """
        self._close_file()
        schema = self._select_schema(columns)
        stored = [(file, i) for file in self._files for i in range(len(file.batch_sizes))]
        starts = np.cumsum([0, *(file.batch_sizes[i] for file, i in stored)])
        row_size = sum(file.path.stat().st_size for file in self._files) // max(self.num_rows, 1)
        step = max(1, _MAX_BYTES_IN_MEMORY // max(row_size, 1) // ROWS_PER_BATCH) * ROWS_PER_BATCH
        for start in range(0, len(row_indices), step):
            rows = np.asarray(row_indices[start : start + step], dtype=np.int64)
            batch_indices = np.searchsorted(starts, rows, side="right") - 1
            order = np.argsort(batch_indices, kind="stable")
            groups = np.split(order, np.flatnonzero(np.diff(batch_indices[order])) + 1)
            batches = []
            for group in groups:
                index = batch_indices[group[0]]
                file, i = stored[index]
                batch = file.read_batch(i, schema.names).take(pa.array(rows[group] - starts[index]))
                batches.append(cast_to_schema(batch, schema))
            table = pa.Table.from_batches(batches, schema).combine_chunks()
            if len(groups) > 1 and not np.array_equal(order, np.arange(len(order))):
                table = table.take(pa.array(np.argsort(order)))
            yield from table.to_batches(max_chunksize=ROWS_PER_BATCH)

    def _select_schema(self, columns: Sequence[str] | None) -> pa.Schema:
        names = self.schema.names if columns is None else columns
        return pa.schema([self.schema.field(name) for name in names])

    def _flush(self) -> None:
        if not self._pending_batches:
            return
        if self._writer is None:
            self._files.append(_ArrowFile(self._folder / f"{len(self._files):06}.arrow"))
            self._writer = pa.ipc.new_file(str(self._files[-1].path), self.schema)
        table = pa.Table.from_batches(self._pending_batches).combine_chunks()
        for batch in table.to_batches(max_chunksize=ROWS_PER_BATCH):
            self._writer.write_batch(batch)
            self._files[-1].batch_sizes.append(batch.num_rows)
        self._pending_batches, self._num_rows_written = [], self.num_rows

    def _close_file(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _ArrowFile:
    """One Arrow file of a table, with the number of rows of each batch."""

    def __init__(self, path: Path) -> None:
        self.path, self.batch_sizes = path, list[int]()
        self._bytes_read = 0

    @cached_property
    def _memory_map(self) -> tuple[mmap.mmap, pa.ipc.RecordBatchFileReader]:
        with self.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return mapped, pa.ipc.open_file(pa.py_buffer(mapped))

    def read_batch(self, index: int, columns: Sequence[str]) -> pa.RecordBatch:
        """Read those of the columns that the file has."""
        mapped, reader = self._memory_map
        if self._bytes_read > _MAX_BYTES_IN_MEMORY:  # pages stay resident until released
            mapped.madvise(mmap.MADV_DONTNEED)
            self._bytes_read = 0
        batch = reader.get_batch(index)
        batch = batch.select([name for name in columns if name in batch.schema.names])
        self._bytes_read += batch.nbytes
        return batch

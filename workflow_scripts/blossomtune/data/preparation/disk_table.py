"""Rows on disk instead of in memory, read again in order or by row number."""

import mmap
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from blossomtune.data.preparation.schemas import cast_to_schema, unify_schemas
from blossomtune.data.sources.arrow_reader import normalize_batch
from blossomtune.data.sources.file_formats import ROWS_PER_BATCH

_MAX_BYTES_IN_MEMORY = (
    16 << 20
)  # bytes that may be in memory at a time, as nearly as rows of one size allow


class DiskTable:
    """Rows on disk, in Arrow's own format, mapped into memory a part at a time.

    Attributes:
        num_rows: how many were appended.
        schema: the columns of all of them, each nullable. A column that a batch does not have is
            null there.
    """

    def __init__(self, folder: Path) -> None:
        """An empty one.

        Args:
            folder: for the spool's files alone; made where it is not there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.num_rows, self.schema = 0, pa.schema([])
        self._folder = folder
        self._files: list[_ArrowFile] = []
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self._pending_batches: list[pa.RecordBatch] = []
        self._num_rows_written = 0

    def append(self, batch: pa.RecordBatch) -> None:
        """Adds rows.

        Raises:
            UserError: where a column's type and the one that it had until now are not of a kind.
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
        """All rows in order, those of some columns or all."""
        self._close_file()
        schema = self._select_schema(columns)
        for file in self._files:
            for i in range(len(file.batch_sizes)):
                yield cast_to_schema(file.read_batch(i, schema.names), schema)

    def take(
        self, row_indices: np.ndarray, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows by their numbers, in the order of ``rows``; at most ``formats.ROWS`` a batch.

        Many batches' worth of rows are looked up together: each stored batch is visited once for
        all of them, then the rows are put in order.
        """
        self._close_file()
        schema = self._select_schema(columns)
        stored = [(file, i) for file in self._files for i in range(len(file.batch_sizes))]
        starts = np.cumsum([0, *(file.batch_sizes[i] for file, i in stored)])
        size = sum(file.path.stat().st_size for file in self._files) // max(self.num_rows, 1)
        step = max(1, _MAX_BYTES_IN_MEMORY // max(size, 1) // ROWS_PER_BATCH) * ROWS_PER_BATCH
        for at in range(0, len(row_indices), step):
            wanted = np.asarray(row_indices[at : at + step], dtype=np.int64)
            of = np.searchsorted(starts, wanted, side="right") - 1
            order = np.argsort(of, kind="stable")
            groups = np.split(order, np.flatnonzero(np.diff(of[order])) + 1)
            taken = []
            for group in groups:
                file, i = stored[of[group[0]]]
                rows_of_it = pa.array(wanted[group] - starts[of[group[0]]])
                taken.append(
                    cast_to_schema(file.read_batch(i, schema.names).take(rows_of_it), schema)
                )
            table = pa.Table.from_batches(taken, schema).combine_chunks()
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
    """One file of a spool, and how many rows each of its batches has."""

    def __init__(self, path: Path) -> None:
        self.path, self.batch_sizes = path, list[int]()
        self._bytes_read = 0

    @cached_property
    def _memory_map(self) -> tuple[mmap.mmap, pa.ipc.RecordBatchFileReader]:
        with self.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return mapped, pa.ipc.open_file(pa.py_buffer(mapped))

    def read_batch(self, index: int, columns: Sequence[str]) -> pa.RecordBatch:
        """Those of the columns that there are."""
        mapped, reader = self._memory_map
        if (
            self._bytes_read > _MAX_BYTES_IN_MEMORY
        ):  # pages that were read stay ours until we say that they need not
            mapped.madvise(mmap.MADV_DONTNEED)
            self._bytes_read = 0
        batch = reader.get_batch(index)
        batch = batch.select([name for name in columns if name in batch.schema.names])
        self._bytes_read += batch.nbytes
        return batch

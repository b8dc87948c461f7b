"""Rows of a source's files, stored on disk in one schema."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa

from blossomtune.data.preparation.disk_table import DiskTable
from blossomtune.errors import UserError

FileBatches = Iterable[tuple[str, pa.RecordBatch]]
"""File name and batch of rows; the batches of a file are consecutive."""


@dataclass(frozen=True)
class SourceRows:
    """Rows of several files in one schema.

    Attributes:
        table: the rows of all files.
        file_offsets: name of each file, and the index of its first row.
    """

    table: DiskTable
    file_offsets: list[tuple[str, int]] = field(default_factory=list)

    def count_rows_per_file(self) -> dict[str, int]:
        """Return the number of rows per file name."""
        offsets = zip(self.file_offsets, self._file_ends, strict=True)
        return {name: end - start for (name, start), end in offsets}

    def iter_batches(self) -> Iterator[tuple[str, int, pa.RecordBatch]]:
        """Yield file name, index of the batch's first row in the file, and batch."""
        file, row, ends = 0, 0, self._file_ends
        for batch in self.table.iter_batches():
            while batch.num_rows:
                while ends[file] == row:
                    file += 1
                part = batch.slice(0, ends[file] - row)
                name, start = self.file_offsets[file]
                yield name, row - start, part
                row, batch = row + part.num_rows, batch.slice(part.num_rows)

    @property
    def _file_ends(self) -> list[int]:
        return [*(start for _, start in self.file_offsets[1:]), self.table.num_rows]


def store_source_rows(
    file_batches: FileBatches,
    folder: Path,
    *,
    require_same_columns: bool = True,
    hint: str | None = None,
) -> SourceRows:
    """Store the rows of files on disk, so that their unified schema is known before they are used.

    Args:
        file_batches: the rows.
        folder: the folder for these rows only.
        require_same_columns: whether all files must have the same columns; otherwise missing
            columns are null.
        hint: hint for the error if the files are incompatible.

    Returns:
        The stored rows.

    Raises:
        UserError: if types or columns of the files are incompatible.
    """
    rows = SourceRows(DiskTable(folder))
    first: tuple[str, list[str]] | None = None
    for name, batches in groupby(file_batches, key=itemgetter(0)):
        rows.file_offsets.append((name, rows.table.num_rows))
        columns: dict[str, None] = {}
        for _, batch in batches:
            columns |= dict.fromkeys(batch.schema.names)
            try:
                rows.table.append(batch)
            except UserError as error:
                raise UserError(f"{name}: {error}", hint) from None
        first = first or (name, list(columns))
        if require_same_columns and set(columns) != set(first[1]):
            raise UserError(
                f"{name} has the columns {', '.join(columns)}, "
                f"but {first[0]} has {', '.join(first[1])}",
                hint,
            )
    return rows

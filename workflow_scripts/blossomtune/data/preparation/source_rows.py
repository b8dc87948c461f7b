"""TODO docstring."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa

from blossomtune.data.preparation.disk_table import DiskTable
from blossomtune.errors import UserError

FileBatches = Iterable[tuple[str, pa.RecordBatch]]
"""A file's name and some of its rows; all batches of a file one after another."""


@dataclass(frozen=True)
class SourceRows:
    """Rows of several files, in one schema.

    Attributes:
        rows: of all files.
        starts: name of each file, and the number of its first row.
    """

    table: DiskTable
    file_offsets: list[tuple[str, int]] = field(default_factory=list)

    def count_rows_per_file(self) -> dict[str, int]:
        """Rows of each file."""
        ends = [*(start for _, start in self.file_offsets[1:]), self.table.num_rows]
        return {
            name: end - start for (name, start), end in zip(self.file_offsets, ends, strict=True)
        }

    def iter_batches(self) -> Iterator[tuple[str, int, pa.RecordBatch]]:
        """File by file: its name, the number of the batch's first row in it, and rows."""
        ends = [*(start for _, start in self.file_offsets[1:]), self.table.num_rows]
        at, done = 0, 0
        for batch in self.table.iter_batches():
            while batch.num_rows:
                while ends[at] == done:
                    at += 1
                part = batch.slice(0, ends[at] - done)
                yield self.file_offsets[at][0], done - self.file_offsets[at][1], part
                done, batch = done + part.num_rows, batch.slice(part.num_rows)


def store_source_rows(
    file_batches: FileBatches,
    folder: Path,
    *,
    require_same_columns: bool = True,
    hint: str | None = None,
) -> SourceRows:
    """Puts the rows of files on disk, so that their types are known before any is worked on.

    Args:
        parts: the rows.
        folder: for the rows alone.
        alike: whether every file has to have the same columns; otherwise those that it does not
            have are null.
        hint: what to do where the files do not go together.

    Raises:
        UserError: where they do not.
    """
    files = SourceRows(DiskTable(folder))
    first: tuple[str, list[str]] | None = None
    for name, batches in groupby(file_batches, key=itemgetter(0)):
        files.file_offsets.append((name, files.table.num_rows))
        columns: dict[str, None] = {}
        for _, batch in batches:
            columns |= dict.fromkeys(batch.schema.names)
            try:
                files.table.append(batch)
            except UserError as error:
                raise UserError(f"{name}: {error}", hint) from None
        first = first or (name, list(columns))
        if require_same_columns and set(columns) != set(first[1]):
            raise UserError(
                f"{name} has the columns {', '.join(columns)}, "
                f"but {first[0]} has {', '.join(first[1])}",
                hint,
            )
    return files

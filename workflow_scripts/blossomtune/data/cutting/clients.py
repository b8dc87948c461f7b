"""Clients and the rows that are theirs, before anything is written."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from blossomtune.data.columns import require
from blossomtune.data.cutting import shares
from blossomtune.data.cutting.labels import Labels, encode
from blossomtune.data.cutting.partitioners import cut
from blossomtune.data.reading.formats import ROWS
from blossomtune.data.tables.collect import collect
from blossomtune.data.tables.spool import Spool
from blossomtune.errors import UserError


@dataclass(frozen=True)
class Clients:
    """Clients whose rows lie in one spool.

    Attributes:
        rows: of each client, by its name: row numbers in the spool, ascending.
        spool: the rows of all of them.
        columns: those to write, in order.
        labels: the column that is counted, or None.
    """

    rows: list[tuple[str, np.ndarray]]
    spool: Spool
    columns: list[str]
    labels: Labels | None


def pooled(
    config: Mapping[str, Any], train: Path, columns: list[str], label: str | None, scratch: Path
) -> Iterator[Clients]:
    """All clients at once, cut out of one file.

    Args:
        config: a partition's block and ``seed``.
        train: a parquet file.
        columns: its columns.
        label: the column to count, or None.
        scratch: an empty folder, which the clients need as long as they are used.

    Raises:
        UserError: where the clients asked for cannot be made.
    """
    column = config.get("column")
    if column is not None:
        require("column", column, columns)
    spool = Spool(scratch)
    with parquet.ParquetFile(train, pre_buffer=False) as file:  # else all of it stays in memory
        for batch in file.iter_batches(ROWS):
            spool.append(batch)
    values = None if column is None else _column(spool, column)
    yield Clients(cut(config, spool.num_rows, values), spool, columns, _labels(spool, label))


def local(
    config: Mapping[str, Any], columns: list[str], label: str | None, scratch: Path
) -> Iterator[Clients]:
    """The clients one by one, each read from where its rows lie; nothing is pooled.

    Args:
        config: a partition's block, ``seed``, and ``reading``, which says how files become rows.
        columns: those that every client must have.
        label: the column to count, or None.
        scratch: an empty folder; a client's rows are gone from it when the next one comes.

    Raises:
        UserError: where a client's files cannot be read, have other columns, or too few rows.
    """
    for name, path in (config["paths"] or {}).items():
        source = {"kind": "path", "path": path, "files": "**", "split": None}
        with tempfile.TemporaryDirectory(dir=scratch) as own:
            try:
                found = collect(config["reading"], source, Path(own))
            except UserError as error:
                raise UserError(f"paths.{name}: {error}") from None
            spool = found.rows
            if set(spool.schema.names) != set(columns):
                raise UserError(
                    f"paths.{name} has the columns {', '.join(spool.schema.names)}, but the data "
                    f"set has {', '.join(columns)}",
                    "all clients need the columns of the data set, whose test rows are for all",
                )
            shares.check([(name, len(found.kept))], config)
            yield Clients([(name, np.sort(found.kept))], spool, columns, _labels(spool, label))


def _column(spool: Spool, name: str) -> pa.ChunkedArray:
    """A column, left on disk."""
    parts = [batch.column(0) for batch in spool.batches([name])]
    return pa.chunked_array(parts, spool.schema.field(name).type)


def _labels(spool: Spool, name: str | None) -> Labels | None:
    return None if name is None else encode("label_column", name, _column(spool, name).chunks)

"""Clients and the rows that are theirs, before anything is written."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from blossomtune.data.columns import require_column
from blossomtune.data.partitioning import client_split
from blossomtune.data.partitioning.labels import EncodedLabels, encode_labels
from blossomtune.data.partitioning.partitioners import assign_rows
from blossomtune.data.preparation.disk_table import DiskTable
from blossomtune.data.preparation.load import load_rows
from blossomtune.data.sources.file_formats import ROWS_PER_BATCH
from blossomtune.errors import UserError


@dataclass(frozen=True)
class ClientRows:
    """Clients whose rows lie in one spool.

    Attributes:
        rows: of each client, by its name: row numbers in the spool, ascending.
        spool: the rows of all of them.
        columns: those to write, in order.
        labels: the column that is counted, or None.
    """

    row_indices: list[tuple[str, np.ndarray]]
    table: DiskTable
    columns: list[str]
    labels: EncodedLabels | None


def iter_pooled_clients(
    config: Mapping[str, Any],
    train_file: Path,
    columns: list[str],
    label_column: str | None,
    scratch: Path,
) -> Iterator[ClientRows]:
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
        require_column("column", column, columns)
    spool = DiskTable(scratch)
    with parquet.ParquetFile(
        train_file, pre_buffer=False
    ) as file:  # else all of it stays in memory
        for batch in file.iter_batches(ROWS_PER_BATCH):
            spool.append(batch)
    values = None if column is None else _read_column(spool, column)
    yield ClientRows(
        assign_rows(config, spool.num_rows, values),
        spool,
        columns,
        _encode_label_column(spool, label_column),
    )


def iter_local_clients(
    config: Mapping[str, Any], columns: list[str], label_column: str | None, scratch: Path
) -> Iterator[ClientRows]:
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
                found = load_rows(config["reading"], source, Path(own))
            except UserError as error:
                raise UserError(f"paths.{name}: {error}") from None
            spool = found.table
            if set(spool.schema.names) != set(columns):
                raise UserError(
                    f"paths.{name} has the columns {', '.join(spool.schema.names)}, but the data "
                    f"set has {', '.join(columns)}",
                    "all clients need the columns of the data set, whose test rows are for all",
                )
            client_split.check_client_sizes([(name, len(found.row_indices))], config)
            yield ClientRows(
                [(name, np.sort(found.row_indices))],
                spool,
                columns,
                _encode_label_column(spool, label_column),
            )


def _read_column(table: DiskTable, name: str) -> pa.ChunkedArray:
    """A column, left on disk."""
    parts = [batch.column(0) for batch in table.iter_batches([name])]
    return pa.chunked_array(parts, table.schema.field(name).type)


def _encode_label_column(table: DiskTable, name: str | None) -> EncodedLabels | None:
    return (
        None
        if name is None
        else encode_labels("label_column", name, _read_column(table, name).chunks)
    )

"""Rows of each client, from a pooled data set or from local files."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from blossomtune.artifacts.dataset_manifest import DatasetSummary
from blossomtune.artifacts.file_reading import FileReading
from blossomtune.data.columns import require_column
from blossomtune.data.partitioning import client_split
from blossomtune.data.partitioning.labels import EncodedLabels, encode_labels
from blossomtune.data.partitioning.partitioners import assign_rows
from blossomtune.data.preparation.class_names import check_client_class_labels
from blossomtune.data.preparation.disk_table import DiskTable
from blossomtune.data.preparation.load import load_rows
from blossomtune.data.sources.file_formats import ROWS_PER_BATCH
from blossomtune.errors import UserError


@dataclass(frozen=True)
class ClientRows:
    """Clients whose rows are in one table.

    Attributes:
        row_indices: name and ascending row indices of each client.
        table: the rows of all these clients.
        columns: the columns to write, in order.
        labels: the label column, or None.
        readings: how the client's own files were read, or None.
    """

    row_indices: list[tuple[str, np.ndarray]]
    table: DiskTable
    columns: list[str]
    labels: EncodedLabels | None
    readings: list[FileReading] | None = None


def iter_pooled_clients(
    config: Mapping[str, Any],
    train_file: Path,
    columns: list[str],
    label_column: str | None,
    scratch: Path,
) -> Iterator[ClientRows]:
    """Assign the rows of one file to all clients.

    Args:
        config: a partition's block and ``seed``.
        train_file: a Parquet file.
        columns: its columns.
        label_column: the column whose labels are counted, or None.
        scratch: an empty folder, needed as long as the result is used.

    Yields:
        All clients at once.

    Raises:
        UserError: if the rows cannot be assigned as configured.
    """
    column = config.get("column")
    if column is not None:
        require_column("column", column, columns)
    table = DiskTable(scratch)
    # a pre-buffered file would stay in memory
    with parquet.ParquetFile(train_file, pre_buffer=False) as file:
        for batch in file.iter_batches(ROWS_PER_BATCH):
            table.append(batch)
    values = None if column is None else _read_column(table, column)
    row_indices = assign_rows(config, table.num_rows, values)
    yield ClientRows(row_indices, table, columns, _encode_label_column(table, label_column))


def iter_local_clients(
    config: Mapping[str, Any], dataset: DatasetSummary, label_column: str | None, scratch: Path
) -> Iterator[ClientRows]:
    """Read each client's rows from its own path; rows are never pooled.

    Args:
        config: a partition's block, ``seed``, and ``reading``, the keys of a data set's block that
            define how files become rows.
        dataset: the data set, whose columns and classes every client must have.
        label_column: the column whose labels are counted, or None.
        scratch: an empty folder.

    Yields:
        One client at a time; its rows are deleted when the next one is requested.

    Raises:
        UserError: if a client's files cannot be read, have other columns, or too few rows.
    """
    for name, path in (config["paths"] or {}).items():
        source = {"kind": "path", "path": path, "files": "**", "split": None}
        with tempfile.TemporaryDirectory(dir=scratch) as client_scratch:
            try:
                loaded = load_rows(config["reading"], source, Path(client_scratch))
            except UserError as error:
                raise UserError(f"paths.{name}: {error}") from None
            table, columns = loaded.table, dataset.columns
            if set(table.schema.names) != set(columns):
                raise UserError(
                    f"paths.{name} has the columns {', '.join(table.schema.names)}, but the data "
                    f"set has {', '.join(columns)}",
                    "all clients need the columns of the data set, whose test rows are for all",
                )
            try:
                check_client_class_labels(table.schema, loaded.class_labels, dataset.class_labels)
            except UserError as error:
                raise UserError(f"paths.{name}: {error}") from None
            client_split.check_client_sizes([(name, len(loaded.row_indices))], config)
            row_indices = [(name, np.sort(loaded.row_indices))]
            labels = _encode_label_column(table, label_column)
            yield ClientRows(row_indices, table, columns, labels, loaded.readings)


def _read_column(table: DiskTable, name: str) -> pa.ChunkedArray:
    """Return a column; its values stay on disk."""
    parts = [batch.column(0) for batch in table.iter_batches([name])]
    return pa.chunked_array(parts, table.schema.field(name).type)


def _encode_label_column(table: DiskTable, name: str | None) -> EncodedLabels | None:
    if name is None:
        return None
    return encode_labels("label_column", name, _read_column(table, name).chunks)

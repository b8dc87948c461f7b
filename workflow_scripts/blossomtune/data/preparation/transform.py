"""Transformation of rows: rename, derive, filter and select columns."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune.data.columns import require_column
from blossomtune.data.parallel import map_ordered
from blossomtune.data.preparation.disk_table import DiskTable
from blossomtune.data.preparation.source_rows import SourceRows
from blossomtune.data.templates import Expression, Template
from blossomtune.errors import UserError
from blossomtune.work_limits import limit_work
from blossomtune.worker_notes import note_file, note_row


def transform_rows(
    source_rows: SourceRows, dataset_config: Mapping[str, Any], folder: Path
) -> tuple[DiskTable, np.ndarray]:
    """Rename, derive, filter and select columns, in this order.

    Templates and the filter see the row's columns under their new names, ``file``, and the columns
    derived before. Derived text is stripped, and replaces a column of the same name.

    Args:
        source_rows: the rows.
        dataset_config: a data set's ``rename``, ``derive``, ``filter`` and ``columns``.
        folder: the folder for the result only.

    Returns:
        The rows that pass the filter, and the mask of these rows, shape (num_rows,), bool.

    Raises:
        UserError: if a column does not exist, or a template cannot be rendered.
    """
    table, derive = source_rows.table, dataset_config["derive"]
    if not any(dataset_config[key] for key in ("rename", "derive", "filter", "columns")):
        return table, np.ones(table.num_rows, dtype=bool)
    names = rename_columns(table.schema.names, dataset_config["rename"])
    columns = dataset_config["columns"] or list(dict.fromkeys([*names, *derive]))
    for column in columns:
        require_column("columns", column, [*names, *derive])
    transform_batch = _BatchTransformer(dataset_config, names, columns)
    result, masks = DiskTable(folder), [np.empty(0, dtype=bool)]
    empty = ("", 0, pa.RecordBatch.from_pylist([], table.schema))  # sets the result's columns
    batches = chain([empty], source_rows.iter_batches())
    isolate = bool(derive or dataset_config["filter"])
    with closing(map_ordered(transform_batch, batches, 1, isolate=isolate)) as transformed:
        for batch, mask in transformed:
            result.append(batch)
            masks.append(mask)
    return result, np.concatenate(masks)


class _BatchTransformer:
    def __init__(
        self, dataset_config: Mapping[str, Any], names: Sequence[str], columns: Sequence[str]
    ) -> None:
        self._names, self._columns = names, columns
        self._templates = {
            name: Template(f"derive.{name}", text)
            for name, text in dataset_config["derive"].items()
        }
        condition = dataset_config["filter"]
        self._condition = Expression("filter", condition) if condition else None

    def __call__(
        self, file_batch: tuple[str, int, pa.RecordBatch]
    ) -> tuple[pa.RecordBatch, np.ndarray]:
        """Return the transformed rows that pass the filter, and the mask of these rows."""
        file, start, batch = file_batch
        batch = batch.rename_columns(self._names)
        mask = np.ones(batch.num_rows, dtype=bool)
        texts: dict[str, list[str]] = {name: [] for name in self._templates}
        note_file(file)
        rows = batch.to_pylist() if texts or self._condition else []
        with limit_work():
            for i, row in enumerate(rows):
                note_row(start + i)
                values, location = {"file": file, **row}, f"row {start + i} of {file}"
                for name, template in self._templates.items():
                    values[name] = template.render(values, location).strip()
                    texts[name].append(values[name])
                if self._condition:
                    mask[i] = self._condition.evaluate(values, location)
        for name, column in texts.items():
            batch = _set_column(batch, name, pa.array(column, pa.string()))
        return batch.select(self._columns).filter(pa.array(mask)), mask


def rename_columns(column_names: Sequence[str], new_names: Mapping[str, str]) -> list[str]:
    """Return the column names after renaming.

    Args:
        column_names: the columns.
        new_names: new name per old name.

    Returns:
        The names, in the order of ``column_names``.

    Raises:
        UserError: if a column does not exist, or two columns would have the same name.
    """
    for old in new_names:
        require_column("rename", old, column_names)
    renamed = [new_names.get(name, name) for name in column_names]
    for old, name in new_names.items():
        if renamed.count(name) > 1:
            raise UserError(
                f"rename.{old}: there would be two columns {name!r}", "choose another name"
            )
    return renamed


def _set_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    index = batch.schema.get_field_index(name)
    if index < 0:
        return batch.append_column(name, values)
    return batch.set_column(index, name, values)

"""Rows of files, worked through: columns renamed, derived and chosen, rows filtered."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune.data.columns import require_column
from blossomtune.data.preparation.disk_table import DiskTable
from blossomtune.data.preparation.source_rows import SourceRows
from blossomtune.data.templates import Expression, Template
from blossomtune.errors import UserError


def transform_rows(
    source_rows: SourceRows, dataset_config: Mapping[str, Any], folder: Path
) -> tuple[DiskTable, np.ndarray]:
    """Renames, derives, filters and chooses columns, in this order.

    Args:
        files: the rows.
        block: a data set's ``rename``, ``derive``, ``filter`` and ``columns``. Templates and the
            filter see the row's columns under their new names, ``file``, and what was derived
            before. Derived text is stripped of white space at both ends; a column of the same
            name is replaced.
        folder: for the result alone.

    Returns:
        The rows that are left, and of every row that there was whether it is: bool.

    Raises:
        UserError: where a column is not there, or a template cannot be rendered.
    """
    rows = source_rows.table
    if not any(dataset_config[key] for key in ("rename", "derive", "filter", "columns")):
        return rows, np.ones(rows.num_rows, dtype=bool)
    names = rename_columns(rows.schema.names, dataset_config["rename"])
    columns = dataset_config["columns"] or list(dict.fromkeys([*names, *dataset_config["derive"]]))
    for column in columns:
        require_column("columns", column, [*names, *dataset_config["derive"]])
    templates = {
        name: Template(f"derive.{name}", text) for name, text in dataset_config["derive"].items()
    }
    condition = Expression("filter", dataset_config["filter"]) if dataset_config["filter"] else None
    made, kept = DiskTable(folder), [np.empty(0, dtype=bool)]
    nothing = ("", 0, pa.RecordBatch.from_pylist([], rows.schema))  # so that columns are known
    for file, start, batch in chain([nothing], source_rows.iter_batches()):
        batch = batch.rename_columns(names)
        passed = np.ones(batch.num_rows, dtype=bool)
        texts: dict[str, list[str]] = {name: [] for name in templates}
        for i, row in enumerate(batch.to_pylist() if templates or condition else []):
            values, where = {"file": file, **row}, f"row {start + i} of {file}"
            for name, template in templates.items():
                values[name] = template.render(values, where).strip()
                texts[name].append(values[name])
            if condition:
                passed[i] = condition.evaluate(values, where)
        for name, column in texts.items():
            batch = _set_column(batch, name, pa.array(column, pa.string()))
        made.append(batch.select(columns).filter(pa.array(passed)))
        kept.append(passed)
    return made, np.concatenate(kept)


def rename_columns(column_names: Sequence[str], new_names: Mapping[str, str]) -> list[str]:
    """The columns' names after ``changes``, old name to new.

    Raises:
        UserError: where there is no such column, or two would have one name.
    """
    for old in new_names:
        require_column("rename", old, column_names)
    new = [new_names.get(name, name) for name in column_names]
    for old, name in new_names.items():
        if new.count(name) > 1:
            raise UserError(
                f"rename.{old}: there would be two columns {name!r}", "choose another name"
            )
    return new


def _set_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    at = batch.schema.get_field_index(name)
    if at < 0:
        return batch.append_column(name, values)
    return batch.set_column(at, name, values)

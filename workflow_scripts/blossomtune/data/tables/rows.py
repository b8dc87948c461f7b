"""Rows of files, worked through: columns renamed, derived and chosen, rows filtered."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune.data.columns import require
from blossomtune.data.tables.spool import Spool
from blossomtune.data.templates import Expression, Template
from blossomtune.errors import UserError

Parts = Iterable[tuple[str, pa.RecordBatch]]
"""A file's name and some of its rows; all batches of a file one after another."""


@dataclass(frozen=True)
class Files:
    """Rows of several files, in one schema.

    Attributes:
        rows: of all files.
        starts: name of each file, and the number of its first row.
    """

    rows: Spool
    starts: list[tuple[str, int]] = field(default_factory=list)

    def sizes(self) -> dict[str, int]:
        """Rows of each file."""
        ends = [*(start for _, start in self.starts[1:]), self.rows.num_rows]
        return {name: end - start for (name, start), end in zip(self.starts, ends, strict=True)}

    def batches(self) -> Iterator[tuple[str, int, pa.RecordBatch]]:
        """File by file: its name, the number of the batch's first row in it, and rows."""
        ends = [*(start for _, start in self.starts[1:]), self.rows.num_rows]
        at, done = 0, 0
        for batch in self.rows.batches():
            while batch.num_rows:
                while ends[at] == done:
                    at += 1
                part = batch.slice(0, ends[at] - done)
                yield self.starts[at][0], done - self.starts[at][1], part
                done, batch = done + part.num_rows, batch.slice(part.num_rows)


def read(parts: Parts, folder: Path, *, alike: bool = True, hint: str | None = None) -> Files:
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
    files = Files(Spool(folder))
    first: tuple[str, list[str]] | None = None
    for name, batches in groupby(parts, key=itemgetter(0)):
        files.starts.append((name, files.rows.num_rows))
        columns: dict[str, None] = {}
        for _, batch in batches:
            columns |= dict.fromkeys(batch.schema.names)
            try:
                files.rows.append(batch)
            except UserError as error:
                raise UserError(f"{name}: {error}", hint) from None
        first = first or (name, list(columns))
        if alike and set(columns) != set(first[1]):
            raise UserError(
                f"{name} has the columns {', '.join(columns)}, "
                f"but {first[0]} has {', '.join(first[1])}",
                hint,
            )
    return files


def work(files: Files, block: Mapping[str, Any], folder: Path) -> tuple[Spool, np.ndarray]:
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
    rows = files.rows
    if not any(block[key] for key in ("rename", "derive", "filter", "columns")):
        return rows, np.ones(rows.num_rows, dtype=bool)
    names = renamed(rows.schema.names, block["rename"])
    columns = block["columns"] or list(dict.fromkeys([*names, *block["derive"]]))
    for column in columns:
        require("columns", column, [*names, *block["derive"]])
    templates = {name: Template(f"derive.{name}", text) for name, text in block["derive"].items()}
    condition = Expression("filter", block["filter"]) if block["filter"] else None
    made, kept = Spool(folder), [np.empty(0, dtype=bool)]
    nothing = ("", 0, pa.RecordBatch.from_pylist([], rows.schema))  # so that columns are known
    for file, start, batch in chain([nothing], files.batches()):
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
            batch = _with(batch, name, pa.array(column, pa.string()))
        made.append(batch.select(columns).filter(pa.array(passed)))
        kept.append(passed)
    return made, np.concatenate(kept)


def renamed(names: Sequence[str], changes: Mapping[str, str]) -> list[str]:
    """The columns' names after ``changes``, old name to new.

    Raises:
        UserError: where there is no such column, or two would have one name.
    """
    for old in changes:
        require("rename", old, names)
    new = [changes.get(name, name) for name in names]
    for old, name in changes.items():
        if new.count(name) > 1:
            raise UserError(
                f"rename.{old}: there would be two columns {name!r}", "choose another name"
            )
    return new


def _with(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    at = batch.schema.get_field_index(name)
    if at < 0:
        return batch.append_column(name, column)
    return batch.set_column(at, name, column)

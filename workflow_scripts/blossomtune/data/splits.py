"""From the rows of a source to training rows and test rows: derive, deduplicate, hold out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune.data.columns import require
from blossomtune.data.templates import Template
from blossomtune.errors import UserError
from blossomtune.seeds import derive as derive_seed


def derive(table: pa.Table, columns: Mapping[str, str], file: str) -> pa.Table:
    """Adds text columns that templates make of each row.

    Args:
        table: rows of one file.
        columns: name of the new column to its template. Templates see the row's columns, those
            derived before, and ``file``.
        file: the file's name without its folder.

    Returns:
        The table with the new columns, stripped of white space at both ends; a column of the same
        name is replaced.
    """
    templates = [Template(f"derive.{name}", source) for name, source in columns.items()]
    made: dict[str, list[str]] = {name: [] for name in columns}
    for i, row in enumerate(table.to_pylist() if templates else []):
        values = {"file": file, **row}
        for name, template in zip(columns, templates, strict=True):
            values[name] = template.render(values, f"row {i} of {file}").strip()
            made[name].append(values[name])
    for name, texts in made.items():
        array = pa.array(texts, pa.string())
        at = table.schema.get_field_index(name)
        table = table.append_column(name, array) if at < 0 else table.set_column(at, name, array)
    return table


def deduplicate(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Of rows that are equal in ``columns``, the first; all rows where no columns are given."""
    for column in columns:
        require("deduplicate_by", column, table.column_names)
    if not columns:
        return table
    first: dict[str, int] = {}
    for i, values in enumerate(zip(*(table[c].to_pylist() for c in columns), strict=True)):
        first.setdefault(repr(values), i)  # repr: nested values cannot be keys themselves
    return table.take(pa.array(first.values(), pa.int64()))


def hold_out(
    table: pa.Table, size: int | float, stratify_by: str | None, seed: int
) -> tuple[pa.Table, pa.Table]:
    """Cuts a test split off.

    Args:
        table: all rows.
        size: rows of the test split, or a share of all rows below 1.
        stratify_by: column whose values have the same shares in both parts, as nearly as whole
            rows allow; None for plain sampling.
        seed: the configuration's seed.

    Returns:
        ``(train, test)``, both in the order of ``table``; test has exactly ``size`` rows.

    Raises:
        UserError: where the column is not there, or no row would be left to train on.
    """
    rows = table.num_rows
    wanted = size if size >= 1 else max(1, round(size * rows))
    if wanted >= rows:
        raise UserError(
            f"test.size: {size} of {rows} rows leaves none to train on",
            "give fewer rows, or a share below 1 such as 0.1",
        )
    groups: dict[Any, list[int]] = {"": list(range(rows))}
    if stratify_by is not None:
        require("test.stratify_by", stratify_by, table.column_names)
        groups = {}
        for i, value in enumerate(table[stratify_by].to_pylist()):
            groups.setdefault(str(value), []).append(i)
    counts = apportion({value: len(group) for value, group in groups.items()}, int(wanted))
    held = np.zeros(rows, dtype=bool)
    for value, group in groups.items():
        order = np.random.default_rng(derive_seed(seed, "test split", value)).permutation(group)
        held[order[: counts[value]]] = True
    return table.filter(pa.array(~held)), table.filter(pa.array(held))


def apportion(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Shares ``total`` out in proportion to ``sizes`` by largest remainders (Hamilton's method).

    Args:
        sizes: size of each group; their sum is at least ``total``.
        total: how many to share out.

    Returns:
        Whole numbers that sum to ``total``, none above its group's size. Equal remainders go by
        the groups' names, so that the order of ``sizes`` does not matter.
    """
    everything = sum(sizes.values())
    counts = {name: size * total // everything for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(sizes[name] * total % everything), name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts

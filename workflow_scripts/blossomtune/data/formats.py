"""Files as tables: csv, tsv, json, jsonl and parquet.

In csv and tsv a column holds numbers where it does so in every file; all else stays text as
written, also what looks like a date or a truth value: templates should show what is in the file.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

from blossomtune.errors import UserError


def read(paths: Sequence[Path], kind: str, columns: Sequence[str] | None = None) -> list[pa.Table]:
    """Reads the files of a data set.

    Args:
        paths: the files.
        kind: csv, tsv, json (a list of objects), jsonl (an object a line) or parquet.
        columns: names for csv and tsv files that have no header line.

    Returns:
        The rows of each file, without schema metadata.

    Raises:
        UserError: where a file is not of that kind.
    """
    if kind in _DELIMITED:
        tables = [_delimited(path, kind, columns, {}) for path in paths]
        text = {f.name: pa.string() for t in tables for f in t.schema if not _number(f.type)}
        tables = [_delimited(p, kind, columns, text) for p in paths] if text else tables
    else:
        reader = {"json": _json, "jsonl": _jsonl, "parquet": _parquet}[kind]
        tables = [reader(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        names = table.column_names
        if repeated := sorted({repr(c) for c in names if names.count(c) > 1}):
            raise UserError(f"{path.name} has more than one column {', '.join(repeated)}")
    return [table.replace_schema_metadata(None) for table in tables]


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes a table; the same rows give the same bytes."""
    parquet.write_table(table.replace_schema_metadata(None), path, compression="zstd")


# Tab-separated text knows no quoting: a quotation mark in it is just that.
_DELIMITED = {
    "csv": csv.ParseOptions(newlines_in_values=True),
    "tsv": csv.ParseOptions(delimiter="\t", quote_char=False),
}


def _delimited(
    path: Path, kind: str, columns: Sequence[str] | None, types: dict[str, pa.DataType]
) -> pa.Table:
    # one block: types are inferred from the whole file, not from its first megabyte
    block = min(max(path.stat().st_size + 1, 1 << 20), (1 << 31) - 1)
    options = csv.ReadOptions(column_names=columns, block_size=block)
    try:
        convert = csv.ConvertOptions(column_types=types)
        return csv.read_csv(path, options, _DELIMITED[kind], convert)
    except pa.ArrowInvalid as error:
        raise _unreadable(path, kind, error) from None


def _number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _unreadable(path: Path, kind: str, error: Exception) -> UserError:
    return UserError(
        f"{path.name} cannot be read as {kind}: {str(error).splitlines()[0][:300]}",
        "check format.kind, format.columns and that the text is UTF-8",
    )


def _json(path: Path) -> pa.Table:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise _unreadable(path, "json", error) from None
    if not isinstance(rows, list):
        raise UserError(f"{path.name} is not a list of objects", "an object a line is kind: jsonl")
    return _objects(rows, path)


def _jsonl(path: Path) -> pa.Table:
    rows = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            rows.extend(json.loads(line) for line in file if line.strip())
    except ValueError as error:
        error.args = (f"object {len(rows)}: {error}",)
        raise _unreadable(path, "jsonl", error) from None
    return _objects(rows, path)


def _objects(rows: list[Any], path: Path) -> pa.Table:
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise UserError(f"{path.name}: row {i} is not an object but {type(row).__name__}")
    columns = dict.fromkeys(key for row in rows for key in row)
    try:
        return pa.table({c: pa.array([row.get(c) for row in rows]) for c in columns})
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(f"{path.name}: a column has values of different types: {error}") from None


def _parquet(path: Path) -> pa.Table:
    try:
        return parquet.read_table(path)
    except pa.ArrowInvalid as error:
        raise _unreadable(path, "parquet", error) from None

"""A data set: training rows, test rows, and a manifest of what they were made from."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from blossomtune import files
from blossomtune.data import formats, sources, splits
from blossomtune.errors import UserError


def build(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fetches a data set and writes train.parquet, test.parquet and manifest.json.

    Args:
        config: a data set's block and ``seed``.
        folder: an empty folder to write to.

    Returns:
        The manifest.

    Raises:
        UserError: where source, format, templates or columns do not fit each other.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        found = sources.read(config, Path(scratch))
    table = _join([(n, splits.derive(t, config["derive"], n)) for n, t in found.parts])
    if table.num_rows == 0:
        raise UserError("the data set has no rows", "check source.files and format")
    unique = splits.deduplicate(table, config["deduplicate_by"])
    size, stratify_by = config["test"]["size"], config["test"]["stratify_by"]
    train, test = splits.hold_out(unique, size, stratify_by, config["seed"])
    for name, part in (("train", train), ("test", test)):
        formats.write_parquet(part, folder / f"{name}.parquet")
    manifest = {
        "source": config["source"],
        "revision": found.revision,
        "licence": config["licence"] or found.licence,
        "rows": {
            "read": table.num_rows,
            "duplicates": table.num_rows - unique.num_rows,
            "train": train.num_rows,
            "test": test.num_rows,
        },
        "columns": table.column_names,
        "stratify_by": stratify_by,
        "seed": config["seed"],
        "files": {f"{n}.parquet": files.sha256(folder / f"{n}.parquet") for n in ("train", "test")},
    }
    files.write_json(folder / "manifest.json", manifest)
    return manifest


def _join(parts: list[tuple[str, pa.Table]]) -> pa.Table:
    """One table of all files; whole and fractional numbers may meet in a column, nothing else."""
    first, columns = parts[0][0], parts[0][1].column_names
    for name, table in parts[1:]:
        if set(table.column_names) != set(columns):
            raise UserError(
                f"{name} has the columns {', '.join(table.column_names)}, "
                f"but {first} has {', '.join(columns)}",
                "let source.files match only files of one kind",
            )
    try:
        return pa.concat_tables(
            [t for _, t in parts], promote_options="permissive"
        ).combine_chunks()
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise UserError(
            f"a column has different types in different files: {str(error).splitlines()[0]}",
            "let source.files match only files of one kind",
        ) from None

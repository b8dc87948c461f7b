"""A data set cut into clients, by Flower Datasets' partitioners."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from flwr_datasets.partitioner import IidPartitioner, NaturalIdPartitioner, Partitioner
from pyarrow import parquet

from blossomtune import files
from blossomtune.data.columns import require
from blossomtune.data.formats import write_parquet
from blossomtune.errors import UserError
from blossomtune.seeds import derive

_ROW = "__row__"


def build(config: Mapping[str, Any], dataset: Path, folder: Path) -> dict[str, Any]:
    """Writes client_<i>.parquet for each client, and manifest.json.

    Args:
        config: a partition's block and ``seed``.
        dataset: directory that ``dataset.build`` wrote; only its training rows are dealt out.
        folder: an empty folder to write to.

    Returns:
        The manifest.

    Raises:
        UserError: where a column is missing or the clients asked for cannot be made.
    """
    table = parquet.read_table(dataset / "train.parquet")
    of_dataset = files.read_json(dataset / "manifest.json")
    label = config["label_column"] or of_dataset["stratify_by"]
    if label is not None:
        require("label_column", label, table.column_names)
    clients = []
    for i, (name, rows) in enumerate(cut(table, config)):
        path = folder / f"client_{i}.parquet"
        part = table.take(pa.array(rows, pa.int64()))
        write_parquet(part, path)
        labels = Counter(map(str, part[label].to_pylist())) if label is not None else None
        clients.append(
            {
                "client": i,
                "name": name,
                "rows": len(rows),
                "labels": labels,
                "sha256": files.sha256(path),
            }
        )
    manifest = {
        "partitioner": config["partitioner"],
        "column": config.get("column"),
        "label_column": label,
        "seed": config["seed"],
        "dataset": {key: of_dataset[key] for key in ("source", "revision", "licence")},
        "clients": clients,
    }
    files.write_json(folder / "manifest.json", manifest)
    return manifest


def cut(table: pa.Table, config: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    """Who gets which rows.

    Args:
        table: N training rows.
        config: a partition's block and ``seed``.

    Returns:
        Each client's name and its row numbers: together all N rows, each once.

    Raises:
        UserError: where there are more clients than rows, or a client without any.
    """
    if config["num_partitions"] > table.num_rows:
        raise UserError(
            f"num_partitions: {config['num_partitions']} clients cannot share "
            f"{table.num_rows} training rows"
        )
    clients = CUTS[config["partitioner"]](table, config)
    empty = [name for name, rows in clients if not rows]
    if empty:
        raise UserError(
            f"partitioner {config['partitioner']}: no rows for {', '.join(empty)}",
            "use fewer partitions, or another partitioner",
        )
    return clients


def _iid(table: pa.Table, config: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    rows = _numbered(table).shuffle(seed=derive(config["seed"], "iid partition"))
    parts = _dealt(IidPartitioner(config["num_partitions"]), rows)
    return [(f"client {i}", part) for i, part in enumerate(parts)]


def _natural_id(table: pa.Table, config: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    column, wanted = config["column"], config["num_partitions"]
    require("column", column, table.column_names)
    values = table[column]
    if values.null_count:
        raise UserError(f"column: {values.null_count} training rows have no {column!r}")
    found = sorted(values.unique().to_pylist())
    if len(found) != wanted:
        shown = ", ".join(map(str, found[:20])) + (", …" if len(found) > 20 else "")
        raise UserError(
            f"num_partitions: {wanted}, but column {column!r} has {len(found)} values: {shown}",
            f"set num_partitions: {len(found)}, or choose another column",
        )
    partitioner = NaturalIdPartitioner(partition_by=column)
    parts = _dealt(partitioner, _numbered(table, column))
    # Flower numbers natural ids in sorted order, which is the order of `found`
    return [(str(value), part) for value, part in zip(found, parts, strict=True)]


_Cut = Callable[[pa.Table, Mapping[str, Any]], list[tuple[str, list[int]]]]
CUTS: dict[str, _Cut] = {"iid": _iid, "natural_id": _natural_id}
"""The partitioners, by the name that the configuration gives them."""


def _numbered(table: pa.Table, *columns: str) -> datasets.Dataset:
    """Row numbers and the columns that decide; the data itself need not travel."""
    chosen = table.select(columns).append_column(_ROW, pa.array(range(table.num_rows), pa.int64()))
    return datasets.Dataset(chosen)


def _dealt(partitioner: Partitioner, rows: datasets.Dataset) -> Sequence[list[int]]:
    partitioner.dataset = rows
    count = partitioner.num_partitions
    return [list(partitioner.load_partition(i)[_ROW]) for i in range(count)]

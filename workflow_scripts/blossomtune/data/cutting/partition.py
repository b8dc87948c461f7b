"""A data set cut into clients: files for each, and a manifest."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune import files
from blossomtune.data.columns import require
from blossomtune.data.cutting import shares, words
from blossomtune.data.cutting.clients import Clients, local, pooled
from blossomtune.data.cutting.labels import distance
from blossomtune.data.reading.formats import write_parquet


def build(config: Mapping[str, Any], dataset: Path, folder: Path) -> dict[str, Any]:
    """Writes client_<i>.parquet for each client, and manifest.json.

    What a client keeps for validation and testing goes to client_<i>.validation.parquet and
    client_<i>.test.parquet. Rows are in the order of the data set. Clients whose rows are
    elsewhere have names here, and no files.

    Args:
        config: a partition's block and ``seed``; for partitioner local also ``reading``, the keys
            of the data set's block that say how files become rows. A client that prepares its
            rows itself has ``clients`` and, for itself, ``paths``.
        dataset: directory that ``dataset.build`` wrote; its test rows are no client's.
        folder: an empty folder to write to.

    Returns:
        The manifest.

    Raises:
        UserError: where a column is missing or the clients asked for cannot be made.
    """
    of_dataset = files.read_json(dataset / "manifest.json")
    label, columns = _label(config, of_dataset), of_dataset["columns"]
    clients, whole = [], Counter[str]()
    elsewhere = [n for n in config.get("clients") or [] if n not in (config["paths"] or {})]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        if config["partitioner"] == "local":
            found = local(config, columns, label, Path(scratch))
        else:
            found = pooled(config, dataset / "train.parquet", columns, label, Path(scratch))
        for some in found:
            first = len(clients)
            if elsewhere:
                first = config["clients"].index(some.rows[0][0])
            for client, labels in _write(some, config, first, folder):
                clients.append(client)
                whole.update(labels)
    clients += [_absent(config["clients"].index(name), name) for name in elsewhere]
    clients.sort(key=itemgetter("client"))
    for client in clients:
        counted = client["labels"] is not None
        client["distance"] = distance(client["labels"], whole) if counted else None
    manifest = {
        "partitioner": config["partitioner"],
        "column": config.get("column"),
        "label_column": label,
        "seed": config["seed"],
        "dataset": {key: of_dataset[key] for key in ("source", "revision", "licence")},
        "labels": whole if label is not None else None,
        "clients": clients,
    }
    files.write_json(folder / "manifest.json", manifest)
    return manifest


def _absent(client: int, name: str) -> dict[str, Any]:
    """What the manifest says of a client whose rows are elsewhere."""
    unknown = dict.fromkeys(("rows", *shares.PARTS, "labels", "tokens"))
    return {"client": client, "name": name, **unknown, "sha256": None, "files": {}}


def _label(config: Mapping[str, Any], of_dataset: Mapping[str, Any]) -> str | None:
    """The column to count."""
    if config["label_column"] is not None:
        require("label_column", config["label_column"], of_dataset["columns"])
        return config["label_column"]
    if of_dataset["stratify_by"] is not None:
        return of_dataset["stratify_by"]
    return None if config["partitioner"] == "continuous" else config.get("column")


def _write(
    clients: Clients, config: Mapping[str, Any], first: int, folder: Path
) -> Iterator[tuple[dict[str, Any], Counter[str]]]:
    """Writes the files of clients; the number of the first one is ``first``.

    Yields:
        What the manifest says of each, still without its distance, and the labels of all its rows.
    """
    labels, parts = clients.labels, []
    for i, (_, rows) in enumerate(clients.rows, first):
        codes = None if labels is None else labels.codes[rows]
        parts.append(shares.split(rows, codes, config, i))
    # one walk over the rows for all clients, be they many and small or few and large
    wanted = np.concatenate([rows for part in parts for rows in part.values()])
    stream = _Stream(clients.spool.gather(wanted, clients.columns))
    schema = pa.schema([clients.spool.schema.field(column) for column in clients.columns])
    for i, ((name, rows), part) in enumerate(zip(clients.rows, parts, strict=True), first):
        sums, tokens = {}, {}
        for kind, numbers in part.items():
            file = f"client_{i}.parquet" if kind == "train" else f"client_{i}.{kind}.parquet"
            before = stream.tokens
            write_parquet(stream.take(len(numbers)), schema, folder / file)
            sums[file], tokens[kind] = files.sha256(folder / file), stream.tokens - before
        client = {
            "client": i,
            "name": name,
            "rows": len(part["train"]),
            **{kind: len(part.get(kind, ())) for kind in shares.PARTS},
            "labels": None if labels is None else labels.count(part["train"]),
            "tokens": tokens["train"],
            "sha256": sums[f"client_{i}.parquet"],
            "files": sums,
        }
        yield client, Counter() if labels is None else labels.count(rows)


class _Stream:
    """Batches that are taken by numbers of rows, and how much text went by."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.tokens = 0
        self._batches, self._left = batches, None

    def take(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The next rows."""
        while rows:
            if self._left is None or not self._left.num_rows:
                self._left = next(self._batches)
            part, self._left = self._left.slice(0, rows), self._left.slice(rows)
            self.tokens += words.count(part)
            rows -= part.num_rows
            yield part

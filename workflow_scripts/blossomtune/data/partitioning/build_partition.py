"""A data set cut into clients: files for each, and a manifest."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune import files
from blossomtune.artifacts.dataset_manifest import DatasetManifest, DatasetSummary
from blossomtune.artifacts.files import read_artifact, write_artifact
from blossomtune.artifacts.origin import Origin
from blossomtune.artifacts.partition_manifest import ClientPartition, PartitionManifest
from blossomtune.data.columns import require_column
from blossomtune.data.partitioning import client_split, token_estimate
from blossomtune.data.partitioning.client_rows import (
    ClientRows,
    iter_local_clients,
    iter_pooled_clients,
)
from blossomtune.data.partitioning.labels import jensen_shannon_distance
from blossomtune.data.sources.file_formats import write_parquet


def build_partition(
    config: Mapping[str, Any], dataset_folder: Path, folder: Path
) -> PartitionManifest:
    """Assign the training rows of a data set to clients; see ``write_partition``.

    Args:
        config: a partition's block and ``seed``.
        dataset_folder: directory that ``build_dataset`` wrote; its test rows are no client's.
        folder: an empty folder to write to.
    """
    dataset = read_artifact(dataset_folder / "manifest.json", DatasetManifest)
    return write_partition(config, dataset, dataset_folder / "train.parquet", folder)


def write_partition(
    config: Mapping[str, Any], dataset: DatasetSummary, train_file: Path | None, folder: Path
) -> PartitionManifest:
    """Write client_<i>.parquet for each client, and manifest.json.

    What a client keeps for validation and testing goes to client_<i>.validation.parquet and
    client_<i>.test.parquet. Rows are in the order of the data set. Clients whose rows are
    elsewhere have names here, and no files.

    Args:
        config: a partition's block and ``seed``; for partitioner local also ``reading``, the keys
            of the data set's block that say how files become rows. A client that prepares its
            rows itself has ``clients`` and, for itself, ``paths``.
        dataset: origin and columns of the data set.
        train_file: its training rows; None for partitioner local, which has files of its own.
        folder: an empty folder to write to.

    Returns:
        The manifest.

    Raises:
        UserError: where a column is missing or the clients asked for cannot be made.
    """
    label, columns = _resolve_label_column(config, dataset), dataset.columns
    clients: list[ClientPartition] = []
    whole = Counter[str]()
    elsewhere = [n for n in config.get("clients") or [] if n not in (config["paths"] or {})]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        if config["partitioner"] == "local" or train_file is None:
            found = iter_local_clients(config, columns, label, Path(scratch))
        else:
            found = iter_pooled_clients(config, train_file, columns, label, Path(scratch))
        for some in found:
            first = len(clients)
            if elsewhere:
                first = config["clients"].index(some.row_indices[0][0])
            for client, labels in _write_clients(some, config, first, folder):
                clients.append(client)
                whole.update(labels)
    clients += [
        ClientPartition(client=config["clients"].index(name), name=name, files={})
        for name in elsewhere
    ]
    manifest = PartitionManifest(
        partitioner=config["partitioner"],
        column=config.get("column"),
        label_column=label,
        seed=config["seed"],
        dataset=Origin(source=dataset.source, revision=dataset.revision, licence=dataset.licence),
        labels=whole if label is not None else None,
        clients=[
            _with_distance(client, whole) for client in sorted(clients, key=attrgetter("client"))
        ],
    )
    write_artifact(folder / "manifest.json", manifest)
    return manifest


def _with_distance(client: ClientPartition, labels: Mapping[str, int]) -> ClientPartition:
    if client.labels is None:
        return client
    distance = jensen_shannon_distance(client.labels, labels)
    return client.model_copy(update={"distance": distance})


def _resolve_label_column(config: Mapping[str, Any], dataset: DatasetSummary) -> str | None:
    """The column to count."""
    if config["label_column"] is not None:
        require_column("label_column", config["label_column"], dataset.columns)
        return config["label_column"]
    if dataset.stratify_by is not None:
        return dataset.stratify_by
    return None if config["partitioner"] == "continuous" else config.get("column")


def _write_clients(
    client_rows: ClientRows, config: Mapping[str, Any], first_index: int, folder: Path
) -> Iterator[tuple[ClientPartition, Counter[str]]]:
    """Writes the files of clients; the number of the first one is ``first``.

    Yields:
        What the manifest says of each, still without its distance, and the labels of all its rows.
    """
    labels, parts = client_rows.labels, []
    for i, (_, rows) in enumerate(client_rows.row_indices, first_index):
        codes = None if labels is None else labels.codes[rows]
        parts.append(client_split.split_client_rows(rows, codes, config, i))
    # one walk over the rows for all clients, be they many and small or few and large
    wanted = np.concatenate([rows for part in parts for rows in part.values()])
    stream = _TokenCountingStream(client_rows.table.take(wanted, client_rows.columns))
    schema = pa.schema([client_rows.table.schema.field(column) for column in client_rows.columns])
    for i, ((name, rows), part) in enumerate(
        zip(client_rows.row_indices, parts, strict=True), first_index
    ):
        sums, tokens = {}, {}
        for kind, numbers in part.items():
            file = f"client_{i}.parquet" if kind == "train" else f"client_{i}.{kind}.parquet"
            before = stream.num_tokens
            write_parquet(stream.take(len(numbers)), schema, folder / file)
            sums[file], tokens[kind] = (
                files.compute_file_sha256(folder / file),
                stream.num_tokens - before,
            )
        client = ClientPartition(
            client=i,
            name=name,
            rows=len(part["train"]),
            validation=len(part.get("validation", ())),
            test=len(part.get("test", ())),
            labels=None if labels is None else labels.count_labels(part["train"]),
            tokens=tokens["train"],
            sha256=sums[f"client_{i}.parquet"],
            files=sums,
        )
        yield client, Counter() if labels is None else labels.count_labels(rows)


class _TokenCountingStream:
    """Batches that are taken by numbers of rows, and how much text went by."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.num_tokens = 0
        self._batches, self._remainder = batches, None

    def take(self, num_rows: int) -> Iterator[pa.RecordBatch]:
        """The next rows."""
        while num_rows:
            if self._remainder is None or not self._remainder.num_rows:
                self._remainder = next(self._batches)
            part, self._remainder = (
                self._remainder.slice(0, num_rows),
                self._remainder.slice(num_rows),
            )
            self.num_tokens += token_estimate.estimate_tokens(part)
            num_rows -= part.num_rows
            yield part

"""Partition of a data set: files per client, and a manifest."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

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
from blossomtune.files import compute_file_sha256


def build_partition(
    config: Mapping[str, Any], dataset_folder: Path, folder: Path
) -> PartitionManifest:
    """Assign the training rows of a data set to clients; see ``write_partition``.

    Args:
        config: a partition's block and ``seed``.
        dataset_folder: directory that ``build_dataset`` wrote.
        folder: an empty folder to write to.

    Returns:
        The manifest.
    """
    dataset = read_artifact(dataset_folder / "manifest.json", DatasetManifest)
    return write_partition(config, dataset, dataset_folder / "train.parquet", folder)


def write_partition(
    config: Mapping[str, Any], dataset: DatasetSummary, train_file: Path | None, folder: Path
) -> PartitionManifest:
    """Write client_<i>.parquet for each client, and manifest.json.

    A client's held-out rows go to client_<i>.validation.parquet and client_<i>.test.parquet. Rows
    are in the order of the data set. External clients have an entry in the manifest and no files.

    Args:
        config: a partition's block and ``seed``; for partitioner local also ``reading``, the keys
            of the data set's block that define how files become rows. An external client has all
            names in ``clients`` and its own path in ``paths``.
        dataset: origin and columns of the data set.
        train_file: its training rows; None for partitioner local.
        folder: an empty folder to write to.

    Returns:
        The manifest.

    Raises:
        UserError: if a column is missing, or the rows cannot be assigned as configured.
    """
    label_column, columns = _resolve_label_column(config, dataset), dataset.columns
    clients: list[ClientPartition] = []
    total_labels = Counter[str]()
    external = [n for n in config.get("clients") or [] if n not in (config["paths"] or {})]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        if config["partitioner"] == "local" or train_file is None:
            batches = iter_local_clients(config, dataset, label_column, Path(scratch))
        else:
            batches = iter_pooled_clients(config, train_file, columns, label_column, Path(scratch))
        for client_rows in batches:
            first_index = len(clients)
            if external:
                first_index = config["clients"].index(client_rows.row_indices[0][0])
            for client, labels in _write_clients(client_rows, config, first_index, folder):
                clients.append(client)
                total_labels.update(labels)
    clients += [
        ClientPartition(client=config["clients"].index(name), name=name, files={})
        for name in external
    ]
    clients.sort(key=attrgetter("client"))
    manifest = PartitionManifest(
        partitioner=config["partitioner"],
        column=config.get("column"),
        label_column=label_column,
        seed=config["seed"],
        dataset=Origin(source=dataset.source, revision=dataset.revision, licence=dataset.licence),
        class_labels=dataset.class_labels,
        labels=total_labels if label_column is not None else None,
        clients=[_add_distance(client, total_labels) for client in clients],
    )
    write_artifact(folder / "manifest.json", manifest)
    return manifest


def _add_distance(client: ClientPartition, total_labels: Mapping[str, int]) -> ClientPartition:
    if client.labels is None:
        return client
    distance = jensen_shannon_distance(client.labels, total_labels)
    return client.model_copy(update={"distance": distance})


def _resolve_label_column(config: Mapping[str, Any], dataset: DatasetSummary) -> str | None:
    """Return the column whose labels are counted, or None."""
    column: str | None = config["label_column"]
    if column is not None:
        require_column("label_column", column, dataset.columns)
    elif dataset.stratify_by is not None:
        column = dataset.stratify_by
    elif config["partitioner"] != "continuous":
        column = config.get("column")
    return column


def _write_clients(
    client_rows: ClientRows, config: Mapping[str, Any], first_index: int, folder: Path
) -> Iterator[tuple[ClientPartition, Counter[str]]]:
    """Write the files of clients; yield each entry, without distance, and all its labels."""
    table, columns, labels = client_rows.table, client_rows.columns, client_rows.labels
    client_splits = []
    for i, (_, rows) in enumerate(client_rows.row_indices, first_index):
        codes = None if labels is None else labels.codes[rows]
        client_splits.append(client_split.split_client_rows(rows, codes, config, i))
    # one pass over the table for all clients
    row_order = np.concatenate([rows for splits in client_splits for rows in splits.values()])
    stream = _TokenCountingStream(table.take(row_order, columns))
    schema = pa.schema([table.schema.field(column) for column in columns])
    named_splits = zip(client_rows.row_indices, client_splits, strict=True)
    for i, ((name, rows), splits) in enumerate(named_splits, first_index):
        checksums, tokens = {}, {}
        for split, split_rows in splits.items():
            file = f"client_{i}.parquet" if split == "train" else f"client_{i}.{split}.parquet"
            tokens_before = stream.num_tokens
            write_parquet(stream.take(len(split_rows)), schema, folder / file)
            checksums[file] = compute_file_sha256(folder / file)
            tokens[split] = stream.num_tokens - tokens_before
        client = ClientPartition(
            client=i,
            name=name,
            rows=len(splits["train"]),
            validation=len(splits.get("validation", ())),
            test=len(splits.get("test", ())),
            labels=None if labels is None else labels.count_labels(splits["train"]),
            tokens=tokens["train"],
            readings=client_rows.readings,
            sha256=checksums[f"client_{i}.parquet"],
            files=checksums,
        )
        yield client, Counter() if labels is None else labels.count_labels(rows)


class _TokenCountingStream:
    """Stream of batches that yields a number of rows at a time and counts their tokens.

    Args:
        batches: the rows.

    Attributes:
        num_tokens: estimated tokens of the rows taken so far.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.num_tokens = 0
        self._batches = batches
        self._remainder: pa.RecordBatch | None = None

    def take(self, num_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the next rows."""
        while num_rows:
            batch = self._remainder or next(self._batches)
            part = batch.slice(0, num_rows)
            self._remainder = batch.slice(num_rows) if batch.num_rows > num_rows else None
            self.num_tokens += token_estimate.estimate_tokens(part)
            num_rows -= part.num_rows
            yield part

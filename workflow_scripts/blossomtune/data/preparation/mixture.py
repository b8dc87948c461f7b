"""Mixture of several data sets; training and test rows are mixed separately."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune.artifacts.dataset_manifest import DatasetManifest
from blossomtune.artifacts.files import read_artifact
from blossomtune.data.preparation import source_rows
from blossomtune.data.preparation.class_names import merge_class_labels, transform_class_labels
from blossomtune.data.preparation.load import LoadedRows, transform_and_deduplicate
from blossomtune.data.sources import file_formats
from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed

SOURCE_COLUMN = "source"
"""The column with the name of a row's data set."""


def load_mixture(
    config: Mapping[str, Any], member_folders: Sequence[Path], scratch: Path
) -> tuple[LoadedRows, LoadedRows]:
    """Load training and test rows of a mixture.

    Args:
        config: the mixture's block and ``seed``.
        member_folders: folders of its data sets, in the order of ``source.datasets``.
        scratch: a folder for this call only, needed as long as the result is used.

    Returns:
        ``(train, test)``. The licence joins those of the data sets; None if one has none.

    Raises:
        UserError: if the data sets' columns do not fit each other or the block.
    """
    source = config["source"]
    members = dict(zip(source["datasets"], member_folders, strict=True))
    manifests = [
        read_artifact(folder / "manifest.json", DatasetManifest) for folder in member_folders
    ]
    licences = [manifest.licence for manifest in manifests]
    licence = ", ".join(sorted(set(filter(None, licences)))) if all(licences) else None
    class_labels = merge_class_labels(*(manifest.class_labels for manifest in manifests))
    class_labels = transform_class_labels(class_labels, config)
    splits = []
    for split in ("train", "test"):
        rows = source_rows.store_source_rows(
            _read_members(members, f"{split}.parquet"),
            scratch / split / "read",
            require_same_columns=False,
            hint="rename it in the block of one of them, or derive text of it",
        )
        sizes = dict.fromkeys(members, 0) | rows.count_rows_per_file()
        weights = source["weights"] if split == "train" else None
        order = order_rows(sizes, weights, source["until"], config["seed"])
        try:
            transformed = transform_and_deduplicate(rows, order, config, scratch / split)
        except UserError as error:
            raise UserError(f"{split} rows: {error}") from None
        splits.append(LoadedRows(*transformed, None, licence, class_labels=class_labels))
    return splits[0], splits[1]


def _read_members(
    member_folders: Mapping[str, Path], file_name: str
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield member name and rows of each member's file, with the column ``source``."""
    for name, folder in member_folders.items():
        for _, batch in file_formats.read_files([folder / file_name]):
            if SOURCE_COLUMN in batch.schema.names:
                raise UserError(
                    f"source.datasets: {name} has a column {SOURCE_COLUMN!r} already, and a "
                    "mixture writes one",
                    f"rename it in the block of {name}: rename: {{{SOURCE_COLUMN}: another name}}",
                )
            values = pa.repeat(pa.scalar(name), batch.num_rows)
            yield name, batch.append_column(SOURCE_COLUMN, values)


def order_rows(
    member_sizes: Mapping[str, int],
    weights: Sequence[float] | None,
    stopping_strategy: str,
    seed: int,
) -> np.ndarray:
    """Return the order of a mixture's rows: concatenated, or interleaved by weights.

    With weights, the order is that of ``datasets.interleave_datasets`` with the same seed, which
    needs about 900 bytes per row for it.

    Args:
        member_sizes: number of rows per member.
        weights: sampling weight per member, whose rows are drawn in order; None to concatenate.
        stopping_strategy: ``first_exhausted``, or ``all_exhausted``, which restarts a member that
            is exhausted.
        seed: the configuration's seed.

    Returns:
        Row indices over the concatenated members, int64. Without weights each occurs once; with
        weights some may be missing or repeated.

    Raises:
        UserError: if there are weights and a member has no rows.
    """
    lengths = np.array(list(member_sizes.values()))
    if weights is None:
        return np.arange(lengths.sum())
    if empty := [name for name, size in member_sizes.items() if not size]:
        raise UserError(
            f"source.weights: {', '.join(empty)} has no training rows to draw",
            "leave it out, or leave weights out",
        )
    random = np.random.default_rng(derive_seed(seed, "mixture"))
    probabilities = np.array(weights) / np.sum(weights)
    is_complete = any if stopping_strategy == "first_exhausted" else all
    draws, counts = [], np.zeros(len(lengths), dtype=np.int64)
    while not is_complete(counts >= lengths):
        draws.append(random.choice(len(lengths), size=100_000, p=probabilities).astype(np.int32))
        counts += np.bincount(draws[-1], minlength=len(lengths))
    members = np.concatenate(draws)
    positions = [np.flatnonzero(members == m) for m in range(len(lengths))]
    ends = [p[size - 1] + 1 for p, size in zip(positions, lengths, strict=True) if len(p) >= size]
    order = np.empty(len(members), dtype=np.int64)
    for position, size, end in zip(positions, lengths, np.cumsum(lengths), strict=True):
        order[position] = end - size + np.arange(len(position)) % size
    return order[: min(ends) if stopping_strategy == "first_exhausted" else max(ends)]

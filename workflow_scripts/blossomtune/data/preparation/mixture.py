"""Several data sets as one, test rows beside test rows."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune.data.preparation import source_rows
from blossomtune.data.preparation.load import LoadedRows, transform_and_deduplicate
from blossomtune.data.sources import file_formats
from blossomtune.errors import UserError
from blossomtune.files import read_json
from blossomtune.seeds import derive_seed

SOURCE_COLUMN = "source"
"""The column that says which data set a row is from."""


def load_mixture(
    config: Mapping[str, Any], member_folders: Sequence[Path], scratch: Path
) -> tuple[LoadedRows, LoadedRows]:
    """Training rows and test rows of a mixture, worked through.

    Args:
        config: the mixture's block and ``seed``.
        folders: of its data sets, in the order of ``source.datasets``.
        scratch: a folder for this alone, which the result needs as long as it is used.

    Returns:
        ``(train, test)``; the licences are the data sets', if each has one.

    Raises:
        UserError: where the data sets' columns do not fit each other or the block.
    """
    source = config["source"]
    members = dict(zip(source["datasets"], member_folders, strict=True))
    licences = [read_json(folder / "manifest.json")["licence"] for folder in member_folders]
    licence = ", ".join(sorted(set(licences))) if all(licences) else None
    made = []
    for part in ("train", "test"):
        files = source_rows.store_source_rows(
            _read_members(members, f"{part}.parquet"),
            scratch / part / "read",
            require_same_columns=False,
            hint="rename it in the block of one of them, or derive text of it",
        )
        sizes = dict.fromkeys(members, 0) | files.count_rows_per_file()
        weights = source["weights"] if part == "train" else None
        turns = order_rows(sizes, weights, source["until"], config["seed"])
        try:
            worked = transform_and_deduplicate(files, turns, config, scratch / part)
        except UserError as error:
            raise UserError(f"{part} rows: {error}") from None
        made.append(LoadedRows(*worked, None, licence))
    return made[0], made[1]


def _read_members(
    member_folders: Mapping[str, Path], file_name: str
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows of a file that each member has, with the column ``source``."""
    for name, folder in member_folders.items():
        for _, batch in file_formats.read_files([folder / file_name], "parquet"):
            if SOURCE_COLUMN in batch.schema.names:
                raise UserError(
                    f"source.datasets: {name} has a column {SOURCE_COLUMN!r} already, and a mixture "
                    "writes one",
                    f"rename it in the block of {name}: rename: {{{SOURCE_COLUMN}: another name}}",
                )
            of = pa.repeat(pa.scalar(name), batch.num_rows)
            yield name, batch.append_column(SOURCE_COLUMN, of)


def order_rows(
    member_sizes: Mapping[str, int],
    weights: Sequence[float] | None,
    stopping_strategy: str,
    seed: int,
) -> np.ndarray:
    """In which order rows are taken: one data set after another, or in turn by weights.

    With weights, the order is that of ``datasets.interleave_datasets`` with the same seed, which
    needs about 900 bytes a row for it.

    Args:
        sizes: member to its rows.
        weights: in what shares rows are drawn, each member's in order.
        until: first_exhausted, or all_exhausted, which begins anew with a member that is.
        seed: the configuration's seed.

    Returns:
        Row numbers over all members, one after another; int64. Without weights, each of them
        once; with weights, some of them never or more than once.

    Raises:
        UserError: where there are weights, and a member without rows.
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
    shares = np.array(weights) / np.sum(weights)
    enough = any if stopping_strategy == "first_exhausted" else all
    drawn, counts = [], np.zeros(len(lengths), dtype=np.int64)
    while not enough(counts >= lengths):
        drawn.append(random.choice(len(lengths), size=100_000, p=shares).astype(np.int32))
        counts += np.bincount(drawn[-1], minlength=len(lengths))
    members = np.concatenate(drawn)
    turns = [np.flatnonzero(members == m) for m in range(len(lengths))]
    ends = [t[size - 1] + 1 for t, size in zip(turns, lengths, strict=True) if len(t) >= size]
    taken = np.empty(len(members), dtype=np.int64)
    for turn, size, end in zip(turns, lengths, np.cumsum(lengths), strict=True):
        taken[turn] = end - size + np.arange(len(turn)) % size  # from its first row again
    return taken[: min(ends) if stopping_strategy == "first_exhausted" else max(ends)]

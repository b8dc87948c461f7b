"""A data set: training rows, test rows, and a manifest of what they were made from."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune import files
from blossomtune.artifacts.dataset_manifest import DatasetManifest, RowCounts
from blossomtune.artifacts.files import write_artifact
from blossomtune.data.columns import read_column_as_text, require_column
from blossomtune.data.preparation import deduplicate, mixture, test_split
from blossomtune.data.preparation.disk_table import DiskTable
from blossomtune.data.preparation.load import LoadedRows, load_rows
from blossomtune.data.preparation.schemas import cast_to_schema, unify_schemas
from blossomtune.data.sources import file_formats
from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed


def build_dataset(
    config: Mapping[str, Any], folder: Path, member_folders: Sequence[Path] = ()
) -> DatasetManifest:
    """Fetches a data set and writes train.parquet, test.parquet and manifest.json.

    Args:
        config: a data set's block and ``seed``.
        folder: an empty folder to write to.
        members: of a mixture, the folders of its data sets, in the order of ``source.datasets``.

    Returns:
        The manifest. Of the rows that were read, test rows from a source of their own included,
        ``rows`` counts those that were taken out at each step and those that are left.

    Raises:
        UserError: where source, format, templates or columns do not fit each other, or too few
            rows are left.
    """
    source, by = config["source"], config["test"]["stratify_by"]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        train, test = _load_train_and_test(config, member_folders, Path(scratch))
        counts = {key: n + (test.counts[key] if test else 0) for key, n in train.counts.items()}
        schema = (
            unify_schemas(train.table.schema, test.table.schema) if test else train.table.schema
        )
        if source["kind"] == "mixture":
            name = config["rename"].get(mixture.SOURCE_COLUMN, mixture.SOURCE_COLUMN)
            by = name if name in schema.names else None
        elif by is not None:
            require_column("test.stratify_by", by, schema.names)
        if test:
            test_rows = test.row_indices[_sample_test_source_mask(test, config)]
            kept = _drop_test_duplicates(train, test, test_rows, config, schema)
            counts["duplicates"] += len(train.row_indices) - len(kept)
            train_rows = _shuffle_and_limit(kept, config)
        else:
            kept = _shuffle_and_limit(train.row_indices, config)
            held = _sample_test_mask(train, kept, config)
            train_rows, test_rows = kept[~held], kept[held]
        written = {
            "train": _write_split(train.table, train_rows, schema, folder / "train.parquet"),
            "test": _write_split((test or train).table, test_rows, schema, folder / "test.parquet"),
        }
    left = counts["read"] - counts["filtered"] - counts["duplicates"]
    manifest = DatasetManifest(
        source=source,
        revision=train.revision,
        licence=config["licence"] or train.licence,
        rows=RowCounts(**counts, limited=left - sum(written.values()), **written),
        columns=schema.names,
        stratify_by=by,
        seed=config["seed"],
        files={f"{n}.parquet": files.compute_file_sha256(folder / f"{n}.parquet") for n in written},
    )
    write_artifact(folder / "manifest.json", manifest)
    return manifest


def _load_train_and_test(
    config: Mapping[str, Any], member_folders: Sequence[Path], scratch: Path
) -> tuple[LoadedRows, LoadedRows | None]:
    """Training rows, and test rows where they have a source of their own."""
    if config["source"]["kind"] == "mixture":
        return mixture.load_mixture(config, member_folders, scratch)
    train = load_rows(config, config["source"], scratch / "train")
    if config["test"]["source"] is None:
        return train, None
    try:
        test = load_rows(config, config["test"]["source"], scratch / "test")
    except UserError as error:
        raise UserError(f"test.source: {error}") from None
    ours, theirs = train.table.schema.names, test.table.schema.names
    if set(ours) != set(theirs):
        raise UserError(
            f"test.source has the columns {', '.join(theirs)}, but source has {', '.join(ours)}",
            "columns keeps those that both have",
        )
    return train, test


def _drop_test_duplicates(
    train: LoadedRows,
    test: LoadedRows,
    test_indices: np.ndarray,
    config: Mapping[str, Any],
    schema: pa.Schema,
) -> np.ndarray:
    """The training rows that are equal to no test row."""
    if not config["deduplicate_by"]:
        return train.row_indices
    compared = pa.schema([schema.field(name) for name in config["deduplicate_by"]])
    of_test, of_train = (
        deduplicate.hash_rows(
            (cast_to_schema(batch, compared) for batch in part.table.iter_batches(compared.names)),
            config["deduplicate_as"],
        )[numbers]
        for part, numbers in ((test, test_indices), (train, train.row_indices))
    )
    first = deduplicate.find_first_occurrences(np.concatenate([of_test, of_train])) - len(of_test)
    kept = train.row_indices[first[first >= 0]]
    if len(train.row_indices) and not len(kept):
        raise UserError("deduplicate_by: every training row is equal to a test row")
    return kept


def _shuffle_and_limit(row_indices: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    """Row numbers, shuffled and limited."""
    if config["shuffle_seed"] is not None:
        random = np.random.default_rng(derive_seed(config["shuffle_seed"], "shuffle"))
        row_indices = random.permutation(row_indices)
    return row_indices[: config["limit"]]


def _sample_test_source_mask(test: LoadedRows, config: Mapping[str, Any]) -> np.ndarray:
    """Of the rows of a source for the test alone, which are used: bool."""
    size, rows = config["test"]["size"], len(test.row_indices)
    if config["source"]["kind"] == "mixture" or size == "all":
        return np.ones(rows, dtype=bool)
    wanted = test_split.resolve_num_rows(size, rows)
    if wanted > rows:
        raise UserError(
            f"test.size: {size}, but test.source has only {rows} rows",
            "give fewer rows, or all",
        )
    return (
        np.ones(rows, dtype=bool)
        if wanted == rows
        else _sample_test_mask(test, test.row_indices, config)
    )


def _sample_test_mask(
    loaded: LoadedRows, row_indices: np.ndarray, config: Mapping[str, Any]
) -> np.ndarray:
    """Which of the rows ``kept`` are held out: bool."""
    size, by = config["test"]["size"], config["test"]["stratify_by"]
    if size == "all":
        return np.ones(len(row_indices), dtype=bool)
    groups = (
        None if by is None else read_column_as_text(loaded.table.iter_batches([by]))[row_indices]
    )
    return test_split.sample_row_mask(groups, len(row_indices), size, config["seed"])


def _write_split(table: DiskTable, row_indices: np.ndarray, schema: pa.Schema, path: Path) -> int:
    batches = (cast_to_schema(batch, schema) for batch in table.take(row_indices))
    return file_formats.write_parquet(batches, schema, path)

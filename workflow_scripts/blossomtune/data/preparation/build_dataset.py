"""Preparation of a data set: training rows, test rows and a manifest."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune.artifacts.dataset_manifest import DatasetManifest, RowCounts
from blossomtune.artifacts.files import write_artifact
from blossomtune.data.columns import read_column_as_text, require_column
from blossomtune.data.preparation import deduplicate, mixture, test_split
from blossomtune.data.preparation.class_names import merge_class_labels
from blossomtune.data.preparation.disk_table import DiskTable
from blossomtune.data.preparation.load import LoadedRows, load_rows
from blossomtune.data.preparation.schemas import cast_to_schema, unify_schemas
from blossomtune.data.sources import file_formats
from blossomtune.errors import UserError
from blossomtune.files import compute_file_sha256
from blossomtune.seeds import derive_seed


def build_dataset(
    config: Mapping[str, Any], folder: Path, member_folders: Sequence[Path] = ()
) -> DatasetManifest:
    """Fetch a data set and write train.parquet, test.parquet and manifest.json.

    Args:
        config: a data set's block and ``seed``.
        folder: an empty folder to write to.
        member_folders: folders of a mixture's data sets, in the order of ``source.datasets``.

    Returns:
        The manifest. Its row counts include test rows from a separate source.

    Raises:
        UserError: if source, format, templates or columns do not fit each other, or too few rows
            are left.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        train, test = _load_train_and_test(config, member_folders, Path(scratch))
        counts = {key: n + (test.counts[key] if test else 0) for key, n in train.counts.items()}
        schema = train.table.schema
        if test:
            schema = unify_schemas(schema, test.table.schema)
        class_labels = merge_class_labels(train.class_labels, test.class_labels if test else [])
        stratify_by = _resolve_stratify_column(config, schema)
        if test:
            test_rows = test.row_indices[_sample_test_source_mask(test, config)]
            unique = _drop_test_duplicates(train, test, test_rows, config, schema)
            counts["duplicates"] += len(train.row_indices) - len(unique)
            train_rows = _shuffle_and_limit(unique, config)
        else:
            rows = _shuffle_and_limit(train.row_indices, config)
            mask = _sample_test_mask(train, rows, config)
            train_rows, test_rows = rows[~mask], rows[mask]
        test_table = (test or train).table
        written = {
            "train": _write_split(train.table, train_rows, schema, folder / "train.parquet"),
            "test": _write_split(test_table, test_rows, schema, folder / "test.parquet"),
        }
    left = counts["read"] - counts["filtered"] - counts["duplicates"]
    manifest = DatasetManifest(
        source=config["source"],
        revision=train.revision,
        licence=config["licence"] or train.licence,
        rows=RowCounts(**counts, limited=left - sum(written.values()), **written),
        readings=train.readings + (test.readings if test else []),
        columns=schema.names,
        stratify_by=stratify_by,
        class_labels=class_labels,
        seed=config["seed"],
        files={f"{n}.parquet": compute_file_sha256(folder / f"{n}.parquet") for n in written},
    )
    write_artifact(folder / "manifest.json", manifest)
    return manifest


def _load_train_and_test(
    config: Mapping[str, Any], member_folders: Sequence[Path], scratch: Path
) -> tuple[LoadedRows, LoadedRows | None]:
    """Load training rows, and test rows if they have a separate source."""
    if config["source"]["kind"] == "mixture":
        return mixture.load_mixture(config, member_folders, scratch)
    train = load_rows(config, config["source"], scratch / "train")
    if config["test"]["source"] is None:
        return train, None
    try:
        test = load_rows(config, config["test"]["source"], scratch / "test")
    except UserError as error:
        raise UserError(f"test.source: {error}") from None
    train_columns, test_columns = train.table.schema.names, test.table.schema.names
    if set(train_columns) != set(test_columns):
        raise UserError(
            f"test.source has the columns {', '.join(test_columns)}, but source has "
            f"{', '.join(train_columns)}",
            "columns keeps those that both have",
        )
    return train, test


def _resolve_stratify_column(config: Mapping[str, Any], schema: pa.Schema) -> str | None:
    """Return the column whose shares the test split keeps, or None."""
    column: str | None = config["test"]["stratify_by"]
    if config["source"]["kind"] == "mixture":
        column = config["rename"].get(mixture.SOURCE_COLUMN, mixture.SOURCE_COLUMN)
        return column if column in schema.names else None
    if column is not None:
        require_column("test.stratify_by", column, schema.names)
    return column


def _drop_test_duplicates(
    train: LoadedRows,
    test: LoadedRows,
    test_indices: np.ndarray,
    config: Mapping[str, Any],
    schema: pa.Schema,
) -> np.ndarray:
    """Return the indices of the training rows that equal no test row."""
    if not config["deduplicate_by"]:
        return train.row_indices
    compared = pa.schema([schema.field(name) for name in config["deduplicate_by"]])
    hashes = []
    for table, indices in ((test.table, test_indices), (train.table, train.row_indices)):
        batches = (cast_to_schema(batch, compared) for batch in table.iter_batches(compared.names))
        hashes.append(deduplicate.hash_rows(batches, config["deduplicate_as"])[indices])
    first = deduplicate.find_first_occurrences(np.concatenate(hashes)) - len(test_indices)
    unique: np.ndarray = train.row_indices[first[first >= 0]]
    if len(train.row_indices) and not len(unique):
        raise UserError("deduplicate_by: every training row is equal to a test row")
    return unique


def _shuffle_and_limit(row_indices: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    """Return row indices, shuffled and limited."""
    if config["shuffle_seed"] is not None:
        random = np.random.default_rng(derive_seed(config["shuffle_seed"], "shuffle"))
        row_indices = random.permutation(row_indices)
    return row_indices[: config["limit"]]


def _sample_test_source_mask(test: LoadedRows, config: Mapping[str, Any]) -> np.ndarray:
    """Return the mask of the rows of a separate test source that are used, bool."""
    size, rows = config["test"]["size"], len(test.row_indices)
    if config["source"]["kind"] == "mixture" or size == "all":
        return np.ones(rows, dtype=bool)
    num_sampled = test_split.resolve_num_rows(size, rows)
    if num_sampled > rows:
        raise UserError(
            f"test.size: {size}, but test.source has only {rows} rows",
            "give fewer rows, or all",
        )
    if num_sampled == rows:
        return np.ones(rows, dtype=bool)
    return _sample_test_mask(test, test.row_indices, config)


def _sample_test_mask(
    loaded: LoadedRows, row_indices: np.ndarray, config: Mapping[str, Any]
) -> np.ndarray:
    """Return the mask of the held-out rows among ``row_indices``, bool."""
    size, column = config["test"]["size"], config["test"]["stratify_by"]
    if size == "all":
        return np.ones(len(row_indices), dtype=bool)
    groups = None
    if column is not None:
        groups = read_column_as_text(loaded.table.iter_batches([column]))[row_indices]
    return test_split.sample_row_mask(groups, len(row_indices), size, config["seed"])


def _write_split(table: DiskTable, row_indices: np.ndarray, schema: pa.Schema, path: Path) -> int:
    batches = (cast_to_schema(batch, schema) for batch in table.take(row_indices))
    return file_formats.write_parquet(batches, schema, path)

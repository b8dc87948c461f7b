"""Loading of a source's rows: read, transform and deduplicate on disk."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from blossomtune.artifacts.dataset_manifest import ClassLabels
from blossomtune.artifacts.file_reading import FileReading
from blossomtune.data.columns import require_column
from blossomtune.data.preparation import deduplicate, transform
from blossomtune.data.preparation.class_names import transform_class_labels
from blossomtune.data.preparation.disk_table import DiskTable
from blossomtune.data.preparation.source_rows import SourceRows, store_source_rows
from blossomtune.data.sources import load_source
from blossomtune.errors import UserError


@dataclass(frozen=True)
class LoadedRows:
    """Transformed and deduplicated rows of a source.

    Attributes:
        table: the rows that passed the filter.
        row_indices: indices in ``table`` of the rows left after deduplication, in order; int64.
        counts: numbers of rows ``read``, ``skipped`` while reading, and removed as ``filtered`` and
            as ``duplicates``.
        revision: version or commit of the source, or None.
        licence: the licence that the source names, or None.
        readings: how the source's files were read.
        class_labels: columns with class names, and whether names or numbers are used.
    """

    table: DiskTable
    row_indices: np.ndarray
    counts: dict[str, int]
    revision: str | None = None
    licence: str | None = None
    readings: list[FileReading] = field(default_factory=list)
    class_labels: list[ClassLabels] = field(default_factory=list)


def load_rows(
    dataset_config: Mapping[str, Any], source: Mapping[str, Any], scratch: Path
) -> LoadedRows:
    """Read a source, then rename, derive, filter, select columns and deduplicate.

    Args:
        dataset_config: the keys of a data set's block that define how files become rows.
        source: the source block; not a mixture.
        scratch: a folder for this call only, needed as long as the result is used.

    Returns:
        The rows.

    Raises:
        UserError: if source, format, templates or columns do not fit, or no row is left.
    """
    fetched = scratch / "fetched"
    fetched.mkdir(parents=True)
    loaded = load_source.load_source(
        source,
        dataset_config["format"],
        fetched,
        use_class_names=dataset_config["class_labels"] == "names",
    )
    hint = "let source.files match only files of one kind"
    rows = store_source_rows(loaded.file_batches, scratch / "read", hint=hint)
    shutil.rmtree(fetched)
    if not rows.table.num_rows:
        skipped = f": {loaded.log.num_skipped} were skipped" if loaded.log.num_skipped else ""
        raise UserError(f"there are no rows in the source{skipped}", "check source and format")
    class_labels = [
        ClassLabels(column=column, field=field, names=names, used=dataset_config["class_labels"])
        for (column, field), names in loaded.class_names.items()
    ]
    class_labels = transform_class_labels(class_labels, dataset_config)
    order = np.arange(rows.table.num_rows)
    table, indices, counts = transform_and_deduplicate(rows, order, dataset_config, scratch)
    counts["skipped"] = loaded.log.num_skipped
    return LoadedRows(
        table,
        indices,
        counts,
        loaded.revision,
        loaded.licence,
        readings=loaded.log.readings,
        class_labels=class_labels,
    )


def transform_and_deduplicate(
    source_rows: SourceRows,
    row_order: np.ndarray,
    dataset_config: Mapping[str, Any],
    scratch: Path,
) -> tuple[DiskTable, np.ndarray, dict[str, int]]:
    """Transform and deduplicate rows that were read.

    Args:
        source_rows: the rows, stored in ``scratch / "read"``.
        row_order: int64 indices of the rows to use, in order; rows may be missing or repeated.
        dataset_config: as for ``load_rows``.
        scratch: as for ``load_rows``.

    Returns:
        ``table``, ``row_indices`` and ``counts`` of ``LoadedRows``.

    Raises:
        UserError: if templates or columns do not fit, or no row passes the filter.
    """
    table, mask = transform.transform_rows(source_rows, dataset_config, scratch / "transformed")
    if table is not source_rows.table:
        shutil.rmtree(scratch / "read")
    passed = row_order[mask[row_order]]
    if len(row_order) and not len(passed):
        raise UserError(f"filter: {dataset_config['filter']!r} is true of no row")
    row_indices = (np.cumsum(mask) - 1)[passed]
    columns = dataset_config["deduplicate_by"]
    for column in columns:
        require_column("deduplicate_by", column, table.schema.names)
    if columns:
        batches = table.iter_batches(columns)
        hashes = deduplicate.hash_rows(batches, dataset_config["deduplicate_as"])
        row_indices = row_indices[deduplicate.find_first_occurrences(hashes[row_indices])]
    counts = {
        "read": len(row_order),
        "skipped": 0,
        "filtered": len(row_order) - len(passed),
        "duplicates": len(passed) - len(row_indices),
    }
    return table, row_indices, counts

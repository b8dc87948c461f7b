"""From a source to rows that are ready to be split, worked through on disk."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blossomtune.data.columns import require_column
from blossomtune.data.preparation import deduplicate, source_rows, transform
from blossomtune.data.preparation.disk_table import DiskTable
from blossomtune.data.sources import load_source
from blossomtune.errors import UserError


@dataclass(frozen=True)
class LoadedRows:
    """Rows of a source, worked through.

    Attributes:
        rows: those that the filter let pass.
        kept: numbers of those that are left after deduplication, in order; int64.
        counts: rows ``read``, and those taken out as ``filtered`` and as ``duplicates``.
        revision: version or commit, or None where there is none.
        licence: as the source names it, or None.
    """

    table: DiskTable
    row_indices: np.ndarray
    counts: dict[str, int]
    revision: str | None = None
    license: str | None = None


def load_rows(
    dataset_config: Mapping[str, Any], source: Mapping[str, Any], scratch: Path
) -> LoadedRows:
    """Reads a source, renames, derives, filters, chooses columns and deduplicates.

    Args:
        block: a data set's block, as far as it says how files become rows.
        source: where the files are; no mixture.
        scratch: a folder for this alone, which the result needs as long as it is used.

    Raises:
        UserError: where source, format, templates or columns do not fit each other, or no row is
            left.
    """
    fetched = scratch / "fetched"
    fetched.mkdir(parents=True)
    found = load_source.load_source(source, dataset_config["format"], fetched)
    hint = "let source.files match only files of one kind"
    files = source_rows.store_source_rows(found.file_batches, scratch / "read", hint=hint)
    shutil.rmtree(fetched)
    if not files.table.num_rows:
        raise UserError("there are no rows in the source", "check source and format")
    worked = transform_and_deduplicate(
        files, np.arange(files.table.num_rows), dataset_config, scratch
    )
    return LoadedRows(*worked, found.revision, found.license)


def transform_and_deduplicate(
    source_rows: source_rows.SourceRows,
    row_order: np.ndarray,
    dataset_config: Mapping[str, Any],
    scratch: Path,
) -> tuple[DiskTable, np.ndarray, dict[str, int]]:
    """The first three attributes of ``Collected``, of rows that were read.

    Args:
        files: the rows, in ``scratch / "read"``.
        order: numbers of those to take, in which order; some perhaps never or more than once.
        block: as for ``collect``.
        scratch: as for ``collect``.
    """
    spool, passed = transform.transform_rows(source_rows, dataset_config, scratch / "worked")
    if spool is not source_rows.table:
        shutil.rmtree(scratch / "read")
    left = row_order[passed[row_order]]
    if len(row_order) and not len(left):
        raise UserError(f"filter: {dataset_config['filter']!r} is true of no row")
    kept = (np.cumsum(passed) - 1)[left]
    by = dataset_config["deduplicate_by"]
    for column in by:
        require_column("deduplicate_by", column, spool.schema.names)
    if by:
        digests = deduplicate.hash_rows(spool.iter_batches(by), dataset_config["deduplicate_as"])
        kept = kept[deduplicate.find_first_occurrences(digests[kept])]
    counts = {
        "read": len(row_order),
        "filtered": len(row_order) - len(left),
        "duplicates": len(left) - len(kept),
    }
    return spool, kept, counts

"""From a source to rows that are ready to be split, worked through on disk."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blossomtune.data.columns import require
from blossomtune.data.reading import sources
from blossomtune.data.tables import duplicates, rows
from blossomtune.data.tables.spool import Spool
from blossomtune.errors import UserError


@dataclass(frozen=True)
class Collected:
    """Rows of a source, worked through.

    Attributes:
        rows: those that the filter let pass.
        kept: numbers of those that are left after deduplication, in order; int64.
        counts: rows ``read``, and those taken out as ``filtered`` and as ``duplicates``.
        revision: version or commit, or None where there is none.
        licence: as the source names it, or None.
    """

    rows: Spool
    kept: np.ndarray
    counts: dict[str, int]
    revision: str | None = None
    licence: str | None = None


def collect(block: Mapping[str, Any], source: Mapping[str, Any], scratch: Path) -> Collected:
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
    found = sources.read(source, block["format"], fetched)
    hint = "let source.files match only files of one kind"
    files = rows.read(found.parts, scratch / "read", hint=hint)
    shutil.rmtree(fetched)
    if not files.rows.num_rows:
        raise UserError("there are no rows in the source", "check source and format")
    worked = work(files, np.arange(files.rows.num_rows), block, scratch)
    return Collected(*worked, found.revision, found.licence)


def work(
    files: rows.Files, order: np.ndarray, block: Mapping[str, Any], scratch: Path
) -> tuple[Spool, np.ndarray, dict[str, int]]:
    """The first three attributes of ``Collected``, of rows that were read.

    Args:
        files: the rows, in ``scratch / "read"``.
        order: numbers of those to take, in which order; some perhaps never or more than once.
        block: as for ``collect``.
        scratch: as for ``collect``.
    """
    spool, passed = rows.work(files, block, scratch / "worked")
    if spool is not files.rows:
        shutil.rmtree(scratch / "read")
    left = order[passed[order]]
    if len(order) and not len(left):
        raise UserError(f"filter: {block['filter']!r} is true of no row")
    kept = (np.cumsum(passed) - 1)[left]
    by = block["deduplicate_by"]
    for column in by:
        require("deduplicate_by", column, spool.schema.names)
    if by:
        digests = duplicates.digests(spool.batches(by), block["deduplicate_as"])
        kept = kept[duplicates.first(digests[kept])]
    counts = {
        "read": len(order),
        "filtered": len(order) - len(left),
        "duplicates": len(left) - len(kept),
    }
    return spool, kept, counts

"""A data set: training rows, test rows, and a manifest of what they were made from."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blossomtune import files
from blossomtune.data.columns import require, texts
from blossomtune.data.reading import formats
from blossomtune.data.tables import duplicates, mixture, splits
from blossomtune.data.tables.collect import Collected, collect
from blossomtune.data.tables.schemas import conform, unify
from blossomtune.data.tables.spool import Spool
from blossomtune.errors import UserError
from blossomtune.seeds import derive


def build(config: Mapping[str, Any], folder: Path, members: Sequence[Path] = ()) -> dict[str, Any]:
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
        train, test = _collected(config, members, Path(scratch))
        counts = {key: n + (test.counts[key] if test else 0) for key, n in train.counts.items()}
        schema = unify(train.rows.schema, test.rows.schema) if test else train.rows.schema
        if source["kind"] == "mixture":
            name = config["rename"].get(mixture.COLUMN, mixture.COLUMN)
            by = name if name in schema.names else None
        elif by is not None:
            require("test.stratify_by", by, schema.names)
        if test:
            test_rows = test.kept[_sampled(test, config)]
            kept = _unlike(train, test, test_rows, config, schema)
            counts["duplicates"] += len(train.kept) - len(kept)
            train_rows = _limited(kept, config)
        else:
            kept = _limited(train.kept, config)
            held = _held(train, kept, config)
            train_rows, test_rows = kept[~held], kept[held]
        written = {
            "train": _write(train.rows, train_rows, schema, folder / "train.parquet"),
            "test": _write((test or train).rows, test_rows, schema, folder / "test.parquet"),
        }
    left = counts["read"] - counts["filtered"] - counts["duplicates"]
    manifest = {
        "source": source,
        "revision": train.revision,
        "licence": config["licence"] or train.licence,
        "rows": counts | {"limited": left - sum(written.values())} | written,
        "columns": schema.names,
        "stratify_by": by,
        "seed": config["seed"],
        "files": {f"{n}.parquet": files.sha256(folder / f"{n}.parquet") for n in written},
    }
    files.write_json(folder / "manifest.json", manifest)
    return manifest


def _collected(
    config: Mapping[str, Any], members: Sequence[Path], scratch: Path
) -> tuple[Collected, Collected | None]:
    """Training rows, and test rows where they have a source of their own."""
    if config["source"]["kind"] == "mixture":
        return mixture.collect(config, members, scratch)
    train = collect(config, config["source"], scratch / "train")
    if config["test"]["source"] is None:
        return train, None
    try:
        test = collect(config, config["test"]["source"], scratch / "test")
    except UserError as error:
        raise UserError(f"test.source: {error}") from None
    ours, theirs = train.rows.schema.names, test.rows.schema.names
    if set(ours) != set(theirs):
        raise UserError(
            f"test.source has the columns {', '.join(theirs)}, but source has {', '.join(ours)}",
            "columns keeps those that both have",
        )
    return train, test


def _unlike(
    train: Collected,
    test: Collected,
    test_rows: np.ndarray,
    config: Mapping[str, Any],
    schema: pa.Schema,
) -> np.ndarray:
    """The training rows that are equal to no test row."""
    if not config["deduplicate_by"]:
        return train.kept
    compared = pa.schema([schema.field(name) for name in config["deduplicate_by"]])
    of_test, of_train = (
        duplicates.digests(
            (conform(batch, compared) for batch in part.rows.batches(compared.names)),
            config["deduplicate_as"],
        )[numbers]
        for part, numbers in ((test, test_rows), (train, train.kept))
    )
    first = duplicates.first(np.concatenate([of_test, of_train])) - len(of_test)
    kept = train.kept[first[first >= 0]]
    if len(train.kept) and not len(kept):
        raise UserError("deduplicate_by: every training row is equal to a test row")
    return kept


def _limited(kept: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    """Row numbers, shuffled and limited."""
    if config["shuffle_seed"] is not None:
        random = np.random.default_rng(derive(config["shuffle_seed"], "shuffle"))
        kept = random.permutation(kept)
    return kept[: config["limit"]]


def _sampled(test: Collected, config: Mapping[str, Any]) -> np.ndarray:
    """Of the rows of a source for the test alone, which are used: bool."""
    size, rows = config["test"]["size"], len(test.kept)
    if config["source"]["kind"] == "mixture" or size == "all":
        return np.ones(rows, dtype=bool)
    wanted = splits.wanted_rows(size, rows)
    if wanted > rows:
        raise UserError(
            f"test.size: {size}, but test.source has only {rows} rows",
            "give fewer rows, or all",
        )
    return np.ones(rows, dtype=bool) if wanted == rows else _held(test, test.kept, config)


def _held(part: Collected, kept: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    """Which of the rows ``kept`` are held out: bool."""
    size, by = config["test"]["size"], config["test"]["stratify_by"]
    if size == "all":
        return np.ones(len(kept), dtype=bool)
    groups = None if by is None else texts(part.rows.batches([by]))[kept]
    return splits.held(groups, len(kept), size, config["seed"])


def _write(spool: Spool, numbers: np.ndarray, schema: pa.Schema, path: Path) -> int:
    batches = (conform(batch, schema) for batch in spool.gather(numbers))
    return formats.write_parquet(batches, schema, path)

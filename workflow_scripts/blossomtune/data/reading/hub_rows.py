"""Data sets of the Hugging Face hub, as rows."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets.data_files import DataFilesDict
from datasets.exceptions import DatasetGenerationError
from huggingface_hub import constants, hf_hub_url

from blossomtune.data.reading import hub
from blossomtune.data.reading.columnar import plain
from blossomtune.data.reading.formats import ROWS
from blossomtune.errors import UserError, nearest

Source = Mapping[str, Any]


def read(source: Source, scratch: Path) -> tuple[Iterator[pa.RecordBatch], str, str | None]:
    """One split of a data set.

    Args:
        source: repo, revision, subset, split, and rows: with a number there, the first rows are
            streamed. `datasets` reads up to some 30 MB ahead, and a JSON list as a whole.
        scratch: folder for what is needed in between, until all rows are read.

    Returns:
        Its rows, the commit that the revision stands for, and the licence or None.

    Raises:
        UserError: where the hub cannot be reached or does not show such a split, and for rows
            that cannot be read, when they are asked for.
    """
    repo = source["repo"]
    info = hub.ask(source, lambda: hub.api().dataset_info(repo, revision=source["revision"]))
    names = [file.rfilename for file in info.siblings or []]
    if f"{repo.rpartition('/')[2]}.py" in names:
        raise UserError(
            f"{repo} is a script that would have to be executed; only data is read",
            "the hub may have its rows as files: revision: refs/convert/parquet",
        )
    if names:  # everybody may know about a gated repository; its files say who may have it
        of = {"repo_type": "dataset", "revision": info.sha, "endpoint": hub.api().endpoint}
        url = hf_hub_url(repo, names[0], **of)
        hub.ask(source, lambda: hub.api().get_hf_file_metadata(url=url))
    print(f"fetching {repo} at {info.sha}", flush=True)
    with _caches_below(scratch), _read_by_datasets(source), hub.explained(source):
        builder = _builder(source, info.sha, scratch)
        _keep_split(builder, source)
        if source["rows"]:
            rows = builder.as_streaming_dataset(split=source["split"])
        else:
            builder.download_and_prepare(verification_mode="no_checks")
            rows = builder.as_dataset(split=source["split"])
    return _batches(rows, source), info.sha, hub.licence(info)


def _builder(source: Source, commit: str, scratch: Path) -> datasets.DatasetBuilder:
    path = f"hf://datasets/{source['repo']}"  # not a folder here that happens to have this name
    subset = source["subset"]
    try:
        return datasets.load_dataset_builder(
            path, subset, revision=commit, token=hub.token(), cache_dir=str(scratch)
        )
    except ValueError as error:  # among others, how it says that there is no such subset
        known = datasets.get_dataset_config_names(path, revision=commit, token=hub.token())
        if subset in known:
            raise
        problem = f"there is no {subset!r}" if subset else "missing"
        near = nearest(subset, known) if subset else None
        raise UserError(
            f"source.subset: {problem}; "
            + (f"did you mean {near!r}? " if near else "")
            + f"subsets of {source['repo']}: {', '.join(known)}"
        ) from error


def _keep_split(builder: datasets.DatasetBuilder, source: Source) -> None:
    """Checks the split, and leaves out the files of others, which would be downloaded, too."""
    files, split = builder.config.data_files, source["split"]
    names = [part.partition("[")[0].strip() for part in split.split("+")]  # train[:100]+test
    for name in names:
        if name not in files:
            near = nearest(name, list(files))
            raise UserError(
                f"source.split: {source['repo']} has no split {name!r}; "
                + (f"did you mean {near!r}? " if near else "")
                + f"splits: {', '.join(files)}"
            )
    if source["rows"] and names != [split]:
        raise UserError(f"source.rows: {split!r} cannot be streamed; name one whole split")
    builder.config.data_files = DataFilesDict({name: files[name] for name in names})


def _batches(
    rows: datasets.Dataset | datasets.IterableDataset, source: Source
) -> Iterator[pa.RecordBatch]:
    left = source["rows"]
    size = min(ROWS, left or ROWS)
    with _read_by_datasets(source), hub.explained(source):
        for table in rows.with_format("arrow").iter(size):
            for batch in table.slice(0, left).to_batches():
                yield plain(batch)
            if left is not None:
                left -= table.num_rows
                if left <= 0:
                    return


@contextmanager
def _read_by_datasets(source: Source) -> Iterator[None]:
    """Says in a sentence what the library `datasets` makes of files that it cannot read."""
    try:
        yield
    except (DatasetGenerationError, FileNotFoundError, ValueError, TypeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{source['repo']} cannot be read: {reason[0][:300]}") from error


@contextmanager
def _caches_below(folder: Path) -> Iterator[None]:
    """Keeps downloads out of the user's cache, in which they would stay after the run.

    `load_dataset` knows no argument for the place of the files that it downloads.
    """
    before, xet = constants.HF_HUB_CACHE, os.environ.get("HF_XET_CACHE")
    constants.HF_HUB_CACHE = str(folder / "hub")
    os.environ["HF_XET_CACHE"] = str(folder / "xet")
    try:
        yield
    finally:
        constants.HF_HUB_CACHE = before
        if xet is None:
            del os.environ["HF_XET_CACHE"]
        else:
            os.environ["HF_XET_CACHE"] = xet

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

from blossomtune.data.sources import huggingface
from blossomtune.data.sources.arrow_reader import normalize_batch
from blossomtune.data.sources.file_formats import ROWS_PER_BATCH
from blossomtune.errors import UserError, find_closest_match

SourceConfig = Mapping[str, Any]


def load_split(
    source: SourceConfig, scratch: Path
) -> tuple[Iterator[pa.RecordBatch], str, str | None]:
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
    info = huggingface.call_api(
        source, lambda: huggingface.get_api().dataset_info(repo, revision=source["revision"])
    )
    names = [file.rfilename for file in info.siblings or []]
    if f"{repo.rpartition('/')[2]}.py" in names:
        raise UserError(
            f"{repo} is a script that would have to be executed; only data is read",
            "the hub may have its rows as files: revision: refs/convert/parquet",
        )
    if names:  # everybody may know about a gated repository; its files say who may have it
        of = {
            "repo_type": "dataset",
            "revision": info.sha,
            "endpoint": huggingface.get_api().endpoint,
        }
        url = hf_hub_url(repo, names[0], **of)
        huggingface.call_api(source, lambda: huggingface.get_api().get_hf_file_metadata(url=url))
    print(f"fetching {repo} at {info.sha}", flush=True)
    with (
        _redirect_caches(scratch),
        _convert_datasets_errors(source),
        huggingface.convert_hub_errors(source),
    ):
        builder = _load_builder(source, info.sha, scratch)
        _select_split(builder, source)
        if source["rows"]:
            rows = builder.as_streaming_dataset(split=source["split"])
        else:
            builder.download_and_prepare(verification_mode="no_checks")
            rows = builder.as_dataset(split=source["split"])
    return _iter_batches(rows, source), info.sha, huggingface.get_license(info)


def _load_builder(source: SourceConfig, commit: str, scratch: Path) -> datasets.DatasetBuilder:
    path = f"hf://datasets/{source['repo']}"  # not a folder here that happens to have this name
    subset = source["subset"]
    try:
        return datasets.load_dataset_builder(
            path, subset, revision=commit, token=huggingface.get_token(), cache_dir=str(scratch)
        )
    except ValueError as error:  # among others, how it says that there is no such subset
        known = datasets.get_dataset_config_names(
            path, revision=commit, token=huggingface.get_token()
        )
        if subset in known:
            raise
        problem = f"there is no {subset!r}" if subset else "missing"
        near = find_closest_match(subset, known) if subset else None
        raise UserError(
            f"source.subset: {problem}; "
            + (f"did you mean {near!r}? " if near else "")
            + f"subsets of {source['repo']}: {', '.join(known)}"
        ) from error


def _select_split(builder: datasets.DatasetBuilder, source: SourceConfig) -> None:
    """Checks the split, and leaves out the files of others, which would be downloaded, too."""
    files, split = builder.config.data_files, source["split"]
    names = [part.partition("[")[0].strip() for part in split.split("+")]  # train[:100]+test
    for name in names:
        if name not in files:
            near = find_closest_match(name, list(files))
            raise UserError(
                f"source.split: {source['repo']} has no split {name!r}; "
                + (f"did you mean {near!r}? " if near else "")
                + f"splits: {', '.join(files)}"
            )
    if source["rows"] and names != [split]:
        raise UserError(f"source.rows: {split!r} cannot be streamed; name one whole split")
    builder.config.data_files = DataFilesDict({name: files[name] for name in names})


def _iter_batches(
    dataset: datasets.Dataset | datasets.IterableDataset, source: SourceConfig
) -> Iterator[pa.RecordBatch]:
    left = source["rows"]
    size = min(ROWS_PER_BATCH, left or ROWS_PER_BATCH)
    with _convert_datasets_errors(source), huggingface.convert_hub_errors(source):
        for table in dataset.with_format("arrow").iter(size):
            for batch in table.slice(0, left).to_batches():
                yield normalize_batch(batch)
            if left is not None:
                left -= table.num_rows
                if left <= 0:
                    return


@contextmanager
def _convert_datasets_errors(source: SourceConfig) -> Iterator[None]:
    """Says in a sentence what the library `datasets` makes of files that it cannot read."""
    try:
        yield
    except (DatasetGenerationError, FileNotFoundError, ValueError, TypeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{source['repo']} cannot be read: {reason[0][:300]}") from error


@contextmanager
def _redirect_caches(folder: Path) -> Iterator[None]:
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

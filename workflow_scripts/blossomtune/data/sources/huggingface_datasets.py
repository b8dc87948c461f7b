"""Reader of data sets of the Hugging Face hub."""

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

from blossomtune.data.sources import class_labels, huggingface
from blossomtune.data.sources.arrow_reader import normalize_batch
from blossomtune.data.sources.file_formats import ROWS_PER_BATCH
from blossomtune.errors import UserError, find_closest_match

SourceConfig = Mapping[str, Any]


def load_split(
    source: SourceConfig, scratch: Path
) -> tuple[Iterator[pa.RecordBatch], str, str | None]:
    """Load one split of a data set.

    With ``rows`` in the source, only the first rows are streamed. `datasets` reads about 30 MB
    ahead, and a JSON list as a whole.

    Args:
        source: a source block with ``repo``, ``revision``, ``subset``, ``split`` and ``rows``.
        scratch: folder for temporary files, needed until all rows are read.

    Returns:
        The rows, the commit of the revision, and the licence or None.

    Raises:
        UserError: if the hub cannot be reached or has no such split. Rows that cannot be read
            raise it when they are requested.
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
    commit, licence = huggingface.get_commit_and_licence(info)
    if names:  # a gated repository's information is public; a file's metadata needs access
        api = huggingface.get_api()
        url = hf_hub_url(
            repo, names[0], repo_type="dataset", revision=commit, endpoint=api.endpoint
        )
        huggingface.call_api(source, lambda: api.get_hf_file_metadata(url=url))
    print(f"fetching {repo} at {commit}", flush=True)
    with (
        _redirect_caches(scratch),
        _convert_datasets_errors(source),
        huggingface.convert_hub_errors(source),
    ):
        builder = _load_builder(source, commit, scratch)
        _select_split(builder, source)
        if source["rows"]:
            rows = builder.as_streaming_dataset(split=source["split"])
        else:
            builder.download_and_prepare(verification_mode="no_checks")
            rows = builder.as_dataset(split=source["split"])
    return _iter_batches(rows, source), commit, licence


def _load_builder(source: SourceConfig, commit: str, scratch: Path) -> datasets.DatasetBuilder:
    path = f"hf://datasets/{source['repo']}"  # never a local folder of this name
    subset, token = source["subset"], huggingface.get_token()
    try:
        return datasets.load_dataset_builder(
            path, subset, revision=commit, token=token, cache_dir=str(scratch)
        )
    except ValueError as error:  # also raised for an unknown subset
        subsets = datasets.get_dataset_config_names(path, revision=commit, token=token)
        if subset in subsets:
            raise
        problem = f"there is no {subset!r}" if subset else "missing"
        match = find_closest_match(subset, subsets) if subset else None
        raise UserError(
            f"source.subset: {problem}; "
            + (f"did you mean {match!r}? " if match else "")
            + f"subsets of {source['repo']}: {', '.join(subsets)}"
        ) from error


def _select_split(builder: datasets.DatasetBuilder, source: SourceConfig) -> None:
    """Check the split, and remove the other splits' files, which would be downloaded as well."""
    files, split = builder.config.data_files, source["split"]
    names = [part.partition("[")[0].strip() for part in split.split("+")]  # train[:100]+test
    for name in names:
        if name not in files:
            match = find_closest_match(name, list(files))
            raise UserError(
                f"source.split: {source['repo']} has no split {name!r}; "
                + (f"did you mean {match!r}? " if match else "")
                + f"splits: {', '.join(files)}"
            )
    if source["rows"] and names != [split]:
        raise UserError(f"source.rows: {split!r} cannot be streamed; name one whole split")
    builder.config.data_files = DataFilesDict({name: files[name] for name in names})


def _iter_batches(
    dataset: datasets.Dataset | datasets.IterableDataset, source: SourceConfig
) -> Iterator[pa.RecordBatch]:
    rows_left = source["rows"]
    schema = pa.schema([]) if dataset.features is None else dataset.features.arrow_schema
    batch_size = min(ROWS_PER_BATCH, rows_left or ROWS_PER_BATCH)
    with _convert_datasets_errors(source), huggingface.convert_hub_errors(source):
        for table in dataset.with_format("arrow").iter(batch_size):
            for batch in table.slice(0, rows_left).to_batches():
                yield class_labels.copy_metadata(schema, normalize_batch(batch))
            if rows_left is not None:
                rows_left -= table.num_rows
                if rows_left <= 0:
                    return


@contextmanager
def _convert_datasets_errors(source: SourceConfig) -> Iterator[None]:
    """Convert errors of the library `datasets` to UserError."""
    try:
        yield
    except (DatasetGenerationError, FileNotFoundError, ValueError, TypeError) as error:
        lines = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{source['repo']} cannot be read: {lines[0][:300]}") from error


@contextmanager
def _redirect_caches(folder: Path) -> Iterator[None]:
    """Redirect downloads from the user's cache to ``folder``; `datasets` has no argument for it."""
    hub_cache, xet_cache = constants.HF_HUB_CACHE, os.environ.get("HF_XET_CACHE")
    constants.HF_HUB_CACHE = str(folder / "hub")
    os.environ["HF_XET_CACHE"] = str(folder / "xet")
    try:
        yield
    finally:
        constants.HF_HUB_CACHE = hub_cache
        if xet_cache is None:
            del os.environ["HF_XET_CACHE"]
        else:
            os.environ["HF_XET_CACHE"] = xet_cache

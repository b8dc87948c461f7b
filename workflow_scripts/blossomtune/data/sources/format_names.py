"""Formats of files by configuration or by the suffixes of their names."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from blossomtune.config.file_format import FORMATS_BY_KEY, FileFormat
from blossomtune.errors import UserError

_FORMAT_BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
    ".xlsx": "xlsx",
    ".txt": "text",
    ".md": "text",
}


def infer_format(name: str) -> str | None:
    """Return the format by the suffix of a file's name, or None if it is unknown."""
    name = name.lower().removesuffix(".gz").removesuffix(".zst")
    return next((kind for suffix, kind in _FORMAT_BY_SUFFIX.items() if name.endswith(suffix)), None)


def resolve_formats(paths: Sequence[Path], file_format: FileFormat) -> dict[Path, str]:
    """Return the format of each file.

    Args:
        paths: the files.
        file_format: the keys of a data set's ``format``.

    Returns:
        The format per file.

    Raises:
        UserError: if the suffix of a file is unknown, or no file has a format that a key is for.
    """
    formats = {path: file_format.kind or _require_format(path) for path in paths}
    _reject_unused_keys(file_format, formats.values())
    return formats


def _require_format(path: Path) -> str:
    file_format = infer_format(path.name)
    if file_format is None:
        raise UserError(
            f"{path.name} ends in no format that is known: {', '.join(_FORMAT_BY_SUFFIX)}, "
            "each also with .gz or .zst",
            "format: {kind: …} says what it is, whatever its name",
        )
    return file_format


def _reject_unused_keys(file_format: FileFormat, formats: Iterable[str]) -> None:
    existing = set(formats)
    for key, allowed in FORMATS_BY_KEY.items():
        if file_format.is_stated(key) and not existing & set(allowed):
            raise UserError(
                f"format.{key} is for {', '.join(allowed)}, and no file is; they are "
                f"{', '.join(sorted(existing))}",
                "leave it out",
            )

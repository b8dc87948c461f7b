"""Formats of files by the suffixes of their names."""

from pathlib import Path

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


def require_format(path: Path) -> str:
    """Return the format by the suffix of a file's name; raise UserError if it is unknown."""
    file_format = infer_format(path.name)
    if file_format is None:
        raise UserError(
            f"{path.name} ends in no format that is known: {', '.join(_FORMAT_BY_SUFFIX)}, "
            "each also with .gz or .zst",
            "format: {kind: …} says what it is, whatever its name",
        )
    return file_format

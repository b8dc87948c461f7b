"""Writing results: all or nothing, and the same bytes for the same content."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def to_canonical_json(value: Any) -> str:
    """The one JSON spelling of ``value``: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def compute_json_sha256(value: Any) -> str:
    """SHA-256 of the canonical JSON of ``value``, 64 hexadecimal digits."""
    return hashlib.sha256(to_canonical_json(value).encode()).hexdigest()


def compute_file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _get_partial_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _remove_path(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _apply_umask(path: Path) -> None:
    """Gives files the mode that new files have; safetensors makes its own for the owner alone."""
    os.umask(umask := os.umask(0))
    for file in (path, *path.rglob("*")) if path.is_dir() else (path,):
        if file.is_file():
            file.chmod(0o666 & ~umask)


@contextmanager
def write_atomically(path: Path, *, directory: bool = False) -> Iterator[Path]:
    """Yields a path beside ``path`` to write to; it becomes ``path`` only if all went well.

    What an earlier, killed attempt left there is removed first; on an error nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _get_partial_path(path)
    _remove_path(partial)
    if directory:
        partial.mkdir()
    try:
        yield partial
        _apply_umask(partial)
        if directory:
            _remove_path(path)
        partial.replace(path)
    except BaseException:
        _remove_path(partial)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as readable JSON with sorted keys, atomically."""
    with write_atomically(path) as partial:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_private_file(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    partial.replace(path)

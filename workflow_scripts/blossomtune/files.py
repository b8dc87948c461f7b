"""Write files atomically and reproducibly, and compute checksums."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blossomtune.errors import UserError
from blossomtune.full_disk import build_full_disk_error, is_disk_full


def to_canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def compute_json_sha256(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(to_canonical_json(value).encode()).hexdigest()


def compute_file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expand_home(path: str) -> Path:
    """Return a path of the configuration with the home folder for a leading ``~``.

    Only readers of files call it: the configuration and all artifacts keep the ``~``.

    Args:
        path: Path as it is in the configuration.

    Returns:
        The path; unchanged if no ``~`` leads it.

    Raises:
        UserError: If there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(
            f"{path!r} does not exist: there is no such home folder",
            "~ is your home folder, and ~name that of another user; ./~ is a file of that name",
        ) from None


def _get_partial_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _remove_path(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _apply_umask(path: Path) -> None:
    """Give files the mode of new files; safetensors creates files for their owner only."""
    os.umask(umask := os.umask(0))
    for file in (path, *path.rglob("*")) if path.is_dir() else (path,):
        if file.is_file():
            file.chmod(0o666 & ~umask)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk."""
    for inner in path.iterdir() if path.is_dir() else ():
        if not inner.is_symlink():
            _sync(inner)
    _sync_entry(path)


def _sync_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def write_atomically(path: Path, *, directory: bool = False, num_bytes: int = 0) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` when the block ends without an error.

    The temporary path is removed on an error, and so is one that a killed process left. It is on
    the disk before it replaces ``path``: after a loss of power, ``path`` is the old or the new one.

    Args:
        path: Final path; its parent folders are created.
        directory: Create the temporary path as a directory.
        num_bytes: Bytes that will be written, if that is known, for the error.

    Yields:
        Path beside ``path`` to write to.

    Raises:
        UserError: If the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _get_partial_path(path)
    _remove_path(partial)
    if directory:
        partial.mkdir()
    try:
        yield partial
        _apply_umask(partial)
        _sync(partial)
        if directory:
            _remove_path(path)
        partial.replace(path)
        _sync_entry(path.parent)
    except BaseException as error:
        full_disk = is_disk_full(error) and build_full_disk_error(path, partial, num_bytes)
        _remove_path(partial)
        if full_disk:
            raise full_disk from error
        raise


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys, atomically.

    Args:
        path: File to write.
        value: JSON value.
    """
    with write_atomically(path) as partial:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the value of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_private_file(path: Path, content: bytes) -> None:
    """Write a file atomically with mode 0600.

    Args:
        path: File to write.
        content: Its bytes.
    """
    partial = _get_partial_path(path)
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    _sync_entry(path.parent)

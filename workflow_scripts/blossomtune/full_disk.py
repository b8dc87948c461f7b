"""Recognize that a disk is full, and tell which one and what to free."""

import errno
import shutil
from pathlib import Path

import psutil

from blossomtune.errors import UserError

_FULL_BYTES = 2**20
_RUN_AGAIN = "run the same command again; finished stages are kept"


def is_disk_full(error: BaseException) -> bool:
    """Return whether a disk is full; safetensors and Arrow have the error code in the text."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    text = str(error).lower()
    return getattr(error, "errno", None) in codes or any(f"os error {c})" in text for c in codes)


def build_full_disk_error(path: Path, partial: Path, num_bytes: int = 0) -> UserError:
    """Build the error for a disk that became full.

    Args:
        path: What could not be written.
        partial: What has been written of it.
        num_bytes: Bytes that it needs; 0 if that is unknown.

    Returns:
        Error with the disk, its free space and what to free.
    """
    disk = find_mount_point(path)
    free, written = shutil.disk_usage(disk).free, _count_bytes(partial)
    missing = num_bytes - written - free
    total = f" of {_format_megabytes(num_bytes)}" if num_bytes else ""
    return UserError(
        f"no space left on the disk while writing {path}: {_format_megabytes(written)}{total} are "
        f"written, and {_format_megabytes(free)} are free on {disk}",
        f"free {_format_megabytes(missing) if missing > 0 else 'some space'} on {disk} and "
        f"{_RUN_AGAIN}",
    )


def describe_full_disks() -> UserError:
    """Build the error for an unknown file that could not be written."""
    writable = [p for p in psutil.disk_partitions(all=True) if "rw" in p.opts.split(",")]
    full = [p.mountpoint for p in writable if _is_full(p.mountpoint)]
    where = f": {', '.join(full)} {'are' if full[1:] else 'is'} full" if full else ""
    return UserError(f"no space left on the disk{where}", f"free some space and {_RUN_AGAIN}")


def _is_full(mount_point: str) -> bool:
    try:
        disk = shutil.disk_usage(mount_point)
    except OSError:  # another user's, or of a server that does not answer
        return False
    return disk.total > 0 and disk.free < _FULL_BYTES


def find_mount_point(path: Path) -> Path:
    """Return the mount point of the disk that a path, which need not exist, is on."""
    path = path.resolve()
    while not path.is_mount():
        path = path.parent
    return path


def _count_bytes(path: Path) -> int:
    """Return the bytes on the disk of a file or a folder, which need not exist."""
    files = [path, *path.rglob("*")]
    return sum(512 * file.lstat().st_blocks for file in files if file.is_file())


def _format_megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"

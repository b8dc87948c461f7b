"""Reader of zip and tar archives; an archive in an archive is a folder: ``data.tar.gz/a.txt``."""

import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from blossomtune.data.sources.glob_patterns import compile_glob, make_no_match_error
from blossomtune.errors import UserError

_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_ZIP_SUFFIXES = (".zip", ".whl")

_MAX_BYTES_IN_MEMORY = 1 << 26
"""Size of a nested archive, in bytes, above which it is copied to disk."""

_DAMAGE_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    OSError,
)


def is_archive(name: str) -> bool:
    """Return whether a file's name ends like that of an archive."""
    return name.lower().endswith(_TAR_SUFFIXES + _ZIP_SUFFIXES)


def iter_files(
    name: str, content: IO[bytes], prefix: str = "", scratch: Path | None = None
) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the files of an archive and of its nested archives, in the archive's order.

    Args:
        name: the archive's name; its suffix determines the format.
        content: its bytes, seekable.
        prefix: path of the archive within the outermost one.
        scratch: folder for large nested archives; None for the system's temporary folder.

    Yields:
        A name and its open content, which is valid until the next file is requested.

    Raises:
        UserError: if a name leads out of the archive, or the archive is damaged.
    """
    with _convert_archive_errors(name):
        for member, file in _iter_members(name, content):
            path = prefix + _validate_member_name(name, member)
            if is_archive(member):
                with tempfile.SpooledTemporaryFile(
                    _MAX_BYTES_IN_MEMORY, dir=None if scratch is None else str(scratch)
                ) as copy:
                    shutil.copyfileobj(file, copy)
                    copy.seek(0)
                    yield from iter_files(member, copy, f"{path}/", scratch)
            else:
                yield path, file


@contextmanager
def _convert_archive_errors(name: str) -> Iterator[None]:
    """Convert the errors of a damaged archive to UserError."""
    try:
        yield
    except _DAMAGE_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's error, such as a full disk
        raise UserError(f"{name}: the archive is damaged ({error})", "download it again") from None
    except RuntimeError as error:  # a missing password or an unknown compression method
        raise UserError(f"{name}: the archive cannot be unpacked: {error}") from None


def _iter_members(name: str, content: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield regular files only: no links, devices or folders."""
    if name.lower().endswith(_ZIP_SUFFIXES):
        with zipfile.ZipFile(content) as zip_archive:
            for entry in zip_archive.infolist():
                if not entry.is_dir():
                    with zip_archive.open(entry) as file:
                        yield entry.filename, file
    elif name.lower().endswith(_TAR_SUFFIXES):
        with tarfile.open(fileobj=content) as tar_archive:
            for member in tar_archive:
                if member.isfile() and (extracted := tar_archive.extractfile(member)) is not None:
                    yield member.name, extracted
    else:
        raise UserError(
            f"{name} is not an archive; known endings: {', '.join(_ZIP_SUFFIXES + _TAR_SUFFIXES)}"
        )


def _validate_member_name(archive: str, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
        raise UserError(f"{archive} holds the name {name!r}, which leads out of the archive")
    return str(path)


def iter_matching_files(
    archive: Path, pattern: str, scratch: Path | None = None
) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the files of an archive whose names match a glob pattern.

    Args:
        archive: the archive.
        pattern: the glob pattern.
        scratch: folder for large nested archives; None for the system's temporary folder.

    Yields:
        A name and its open content, which is valid until the next file is requested.
    """
    glob = compile_glob(pattern)
    with archive.open("rb") as content:
        for name, file in iter_files(archive.name, content, scratch=scratch):
            if glob.fullmatch(name):
                yield name, file


def extract_files(archive: Path, pattern: str, folder: Path) -> list[Path]:
    """Extract the files whose names match a glob pattern.

    Args:
        archive: the archive.
        pattern: the glob pattern.
        folder: the folder to write to; files have their names in the archive below it.

    Returns:
        The paths of the files, sorted.

    Raises:
        UserError: if no file matches, a name leads out of the archive, or it is damaged.
    """
    paths = []
    for name, file in iter_matching_files(archive, pattern, folder.parent):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _convert_archive_errors(archive.name), path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        paths.append(path)
    if not paths:
        names = [name for name, _ in iter_matching_files(archive, "**")]
        raise make_no_match_error(pattern, archive.name, names)
    return sorted(set(paths))

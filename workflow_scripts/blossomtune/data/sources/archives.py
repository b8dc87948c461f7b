"""Files inside zip and tar archives, read without executing anything that is in them.

An archive inside an archive counts as a folder: ``data.tar.gz/texts/a.txt``.
"""

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
"""Bytes of an archive in an archive; a larger one goes to disk."""


_DAMAGE_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    OSError,
)


def is_archive(name: str) -> bool:
    """Whether a file's name ends like that of an archive."""
    return name.lower().endswith(_TAR_SUFFIXES + _ZIP_SUFFIXES)


def iter_files(
    name: str, content: IO[bytes], prefix: str = "", scratch: Path | None = None
) -> Iterator[tuple[str, IO[bytes]]]:
    """All files of an archive and of those in it, in the archive's order.

    Args:
        name: the archive's name; its ending says what kind it is.
        content: its bytes, seekable.
        prefix: goes before every name.
        scratch: folder for large archives that are in this one; by default that of the machine.

    Yields:
        A name and its open content, which is valid until the next one is asked for.

    Raises:
        UserError: where a name leads out of the archive, or the archive is damaged.
    """
    with _convert_archive_errors(name):
        for inner, file in _iter_members(name, content):
            path = prefix + _validate_member_name(name, inner)
            if is_archive(inner):
                with tempfile.SpooledTemporaryFile(_MAX_BYTES_IN_MEMORY, dir=scratch) as copy:
                    shutil.copyfileobj(file, copy)
                    copy.seek(0)
                    yield from iter_files(inner, copy, f"{path}/", scratch)
            else:
                yield path, file


@contextmanager
def _convert_archive_errors(name: str) -> Iterator[None]:
    """Says of an archive that it is damaged, however that shows."""
    try:
        yield
    except _DAMAGE_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a full disk, for one
        raise UserError(f"{name}: the archive is damaged ({error})", "download it again") from None
    except RuntimeError as error:  # a password is missing, or a method of packing
        raise UserError(f"{name}: the archive cannot be unpacked: {error}") from None


def _iter_members(name: str, content: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Regular files only: links, devices and folders are passed over."""
    if name.lower().endswith(_ZIP_SUFFIXES):
        with zipfile.ZipFile(content) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    with archive.open(entry) as file:
                        yield entry.filename, file
    elif name.lower().endswith(_TAR_SUFFIXES):
        with tarfile.open(fileobj=content) as archive:
            for member in archive:
                if member.isfile() and (file := archive.extractfile(member)) is not None:
                    yield member.name, file
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
    """Names and open contents of an archive's files that match a pattern."""
    wanted = compile_glob(pattern)
    with archive.open("rb") as content:
        for name, file in iter_files(archive.name, content, scratch=scratch):
            if wanted.fullmatch(name):
                yield name, file


def extract_files(archive: Path, pattern: str, folder: Path) -> list[Path]:
    """Writes the files that match a pattern below ``folder``, under their names in the archive.

    Returns:
        Their paths, sorted.

    Raises:
        UserError: where no file matches.
    """
    paths = []
    for name, file in iter_matching_files(archive, pattern, folder.parent):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _convert_archive_errors(archive.name), path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        paths.append(path)
    if not paths:
        raise make_no_match_error(
            pattern, archive.name, [name for name, _ in iter_matching_files(archive, "**")]
        )
    return sorted(set(paths))

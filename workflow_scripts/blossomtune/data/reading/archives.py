"""Files inside zip and tar archives, read without executing anything that is in them.

An archive inside an archive counts as a folder: ``data.tar.gz/texts/a.txt``.
"""

import lzma
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from blossomtune.errors import UserError

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_ZIP = (".zip", ".whl")
_LISTED = 12
_IN_MEMORY = 1 << 26
"""Bytes of an archive in an archive; a larger one goes to disk."""
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError)


def is_one(name: str) -> bool:
    """Whether a file's name ends like that of an archive."""
    return name.lower().endswith(_TAR + _ZIP)


def regex(pattern: str) -> re.Pattern[str]:
    """A glob pattern as a regular expression over whole names with forward slashes.

    ``*`` and ``?`` stay within a folder, ``**`` spans any number of them. A pattern without a
    slash is about a file's own name, in whatever folder it is.
    """
    if "/" not in pattern and pattern != "**":
        pattern = f"**/{pattern}"
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(t, re.escape(t)) for t in tokens), re.DOTALL)


def walk(
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
    with _whole(name):
        for inner, file in _members(name, content):
            path = prefix + _safe(name, inner)
            if is_one(inner):
                with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=scratch) as copy:
                    shutil.copyfileobj(file, copy)
                    copy.seek(0)
                    yield from walk(inner, copy, f"{path}/", scratch)
            else:
                yield path, file


@contextmanager
def _whole(name: str) -> Iterator[None]:
    """Says of an archive that it is damaged, however that shows."""
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a full disk, for one
        raise UserError(f"{name}: the archive is damaged ({error})", "download it again") from None
    except RuntimeError as error:  # a password is missing, or a method of packing
        raise UserError(f"{name}: the archive cannot be unpacked: {error}") from None


def _members(name: str, content: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Regular files only: links, devices and folders are passed over."""
    if name.lower().endswith(_ZIP):
        with zipfile.ZipFile(content) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    with archive.open(entry) as file:
                        yield entry.filename, file
    elif name.lower().endswith(_TAR):
        with tarfile.open(fileobj=content) as archive:
            for member in archive:
                if member.isfile() and (file := archive.extractfile(member)) is not None:
                    yield member.name, file
    else:
        raise UserError(f"{name} is not an archive; known endings: {', '.join(_ZIP + _TAR)}")


def _safe(archive: str, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
        raise UserError(f"{archive} holds the name {name!r}, which leads out of the archive")
    return str(path)


def matching(
    archive: Path, pattern: str, scratch: Path | None = None
) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and open contents of an archive's files that match a pattern."""
    wanted = regex(pattern)
    with archive.open("rb") as content:
        for name, file in walk(archive.name, content, scratch=scratch):
            if wanted.fullmatch(name):
                yield name, file


def extract(archive: Path, pattern: str, folder: Path) -> list[Path]:
    """Writes the files that match a pattern below ``folder``, under their names in the archive.

    Returns:
        Their paths, sorted.

    Raises:
        UserError: where no file matches.
    """
    paths = []
    for name, file in matching(archive, pattern, folder.parent):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _whole(archive.name), path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        paths.append(path)
    if not paths:
        raise no_match(pattern, archive.name, [name for name, _ in matching(archive, "**")])
    return sorted(set(paths))


def no_match(pattern: str, where: str, names: list[str]) -> UserError:
    """The error for a pattern that matches nothing; it lists what is there."""
    return UserError(
        f"no file in {where} matches {pattern!r}; there are: {listed(names)}",
        "* stays within a folder, ** spans folders",
    )


def listed(names: list[str]) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more

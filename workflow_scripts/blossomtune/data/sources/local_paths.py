"""Local paths of the configuration: home folders and glob patterns."""

import glob
from pathlib import Path

from blossomtune.data.sources.glob_patterns import format_names
from blossomtune.errors import UserError
from blossomtune.files import expand_home

_WILDCARDS = ("*", "?")


def find_local_paths(path: str) -> list[Path]:
    """Find the files and folders that a path or glob pattern names.

    ``*`` and ``?`` stay within a folder, ``**`` spans folders, all other characters are literal.
    A path that exists is no pattern. Hidden files and folders do not match.

    Args:
        path: path as it is in the configuration; a leading ``~`` is the home folder.

    Returns:
        The path itself, or the sorted matches of a pattern without those inside other matches.

    Raises:
        UserError: if there are none.
    """
    literal = expand_home(path)
    if literal.exists():
        return [literal]
    base = find_base_folder(path)
    if base == literal:
        raise UserError(
            f"there is no file or folder {path!r}",
            "relative paths start where Snakemake was started",
        )
    pattern = literal.relative_to(base).as_posix().replace("[", "[[]")  # a literal bracket
    # unlike Path.glob, it leaves out hidden files and allows ** anywhere
    found_names = glob.glob(pattern, root_dir=base, recursive=True)  # noqa: PTH207
    matches = sorted(base / name for name in found_names if not is_hidden(base / name, base))
    unique = set(matches)
    matches = [match for match in matches if not unique & set(match.parents)]
    if not matches:
        names = sorted(entry.name for entry in base.iterdir()) if base.is_dir() else []
        there = f"{str(base)!r} has {format_names(names) or 'no files'}"
        raise UserError(f"no file or folder matches {path!r}; {there}", "** spans folders")
    return matches


def find_base_folder(path: str) -> Path:
    """Return the folder above the first wildcard of a pattern; the path itself without any.

    Args:
        path: path or pattern as it is in the configuration.

    Returns:
        The folder or path, with the home folder for a leading ``~``. It may not exist.
    """
    literal = expand_home(path)
    if literal.exists():
        return literal
    parts = literal.parts
    with_wildcards = (i for i, part in enumerate(parts) if any(w in part for w in _WILDCARDS))
    return Path(*parts[: next(with_wildcards, len(parts))])


def is_hidden(path: Path, folder: Path) -> bool:
    """Return whether a path has a hidden part below a folder; Office's lock files are hidden.

    Args:
        path: a file or folder.
        folder: a folder above it.

    Returns:
        True if a name starts with a dot or with ``~$``.
    """
    return any(part.startswith((".", "~$")) for part in path.relative_to(folder).parts)

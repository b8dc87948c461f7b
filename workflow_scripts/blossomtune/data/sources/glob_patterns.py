"""Glob patterns over the names of files in folders and archives."""

import re

from blossomtune.errors import UserError

_MAX_NAMES_LISTED = 12


def compile_glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob pattern to a regular expression over whole names with forward slashes.

    ``*`` and ``?`` stay within a folder, ``**`` spans any number of folders. A pattern without a
    slash matches a file's own name in any folder.

    Args:
        pattern: the glob pattern.

    Returns:
        The regular expression, for ``fullmatch``.
    """
    if "/" not in pattern and pattern != "**":
        pattern = f"**/{pattern}"
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(t, re.escape(t)) for t in tokens), re.DOTALL)


def make_no_match_error(pattern: str, location: str, names: list[str]) -> UserError:
    """Return the error for a pattern that matches nothing; it lists the names that exist.

    Args:
        pattern: the glob pattern.
        location: folder or archive, as the message names it.
        names: all names there.

    Returns:
        The error, to be raised.
    """
    return UserError(
        f"no file in {location} matches {pattern!r}; there are: {format_names(names)}",
        "* stays within a folder, ** spans folders",
    )


def format_names(names: list[str]) -> str:
    """Return the first names, comma-separated, and how many more there are."""
    more = f" and {len(names) - _MAX_NAMES_LISTED} more" if len(names) > _MAX_NAMES_LISTED else ""
    return ", ".join(names[:_MAX_NAMES_LISTED]) + more

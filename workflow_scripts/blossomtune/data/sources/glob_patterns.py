"""TODO docstring."""

import re

from blossomtune.errors import UserError

_MAX_NAMES_LISTED = 12


def compile_glob(pattern: str) -> re.Pattern[str]:
    """A glob pattern as a regular expression over whole names with forward slashes.

    ``*`` and ``?`` stay within a folder, ``**`` spans any number of them. A pattern without a
    slash is about a file's own name, in whatever folder it is.
    """
    if "/" not in pattern and pattern != "**":
        pattern = f"**/{pattern}"
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(t, re.escape(t)) for t in tokens), re.DOTALL)


def make_no_match_error(pattern: str, location: str, names: list[str]) -> UserError:
    """The error for a pattern that matches nothing; it lists what is there."""
    return UserError(
        f"no file in {location} matches {pattern!r}; there are: {format_names(names)}",
        "* stays within a folder, ** spans folders",
    )


def format_names(names: list[str]) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - _MAX_NAMES_LISTED} more" if len(names) > _MAX_NAMES_LISTED else ""
    return ", ".join(names[:_MAX_NAMES_LISTED]) + more

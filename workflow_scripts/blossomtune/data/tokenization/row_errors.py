"""Errors of rows that cannot become examples."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from blossomtune.errors import UserError

ERROR_KINDS = ("unrenderable", "too_long", "leaks")
"""Kinds of errors; each is also the configuration key that sets how it is handled."""

MAX_SHOWN_ROWS = 5
"""Maximum number of rows that a message lists."""

_HINTS = {
    "unrenderable": "set unrenderable: drop to leave such rows out",
    "too_long": "raise max_length, or set too_long: drop or truncate",
    "leaks": "set leaks: drop to leave such rows out, or leaks: report to count them",
}
_HINT_SEPARATOR = "\n  hint: "


class RowError(NamedTuple):
    """A row that cannot become an example, with kind and reason."""

    row: int
    kind: str
    reason: UserError


def check_row_errors(
    file_name: str,
    num_examples: int,
    num_dropped: Mapping[str, int],
    first_errors: Mapping[str, Sequence[RowError]],
    config: Mapping[str, Any],
) -> None:
    """Raise an error if rows of a file were dropped against the configuration.

    Args:
        file_name: name of the file.
        num_examples: number of rows that became examples.
        num_dropped: number of other rows per kind of error.
        first_errors: the first of their errors, per kind.
        config: a preprocessing block.

    Raises:
        UserError: if a row was dropped whose kind of error is set to ``error``, or none is left.
    """
    rows = num_examples + sum(num_dropped.values())
    kinds = [kind for kind in ERROR_KINDS if num_dropped[kind] and config[kind] == "error"]
    if kinds:
        num_failed = sum(num_dropped[kind] for kind in kinds)
        title = f"{file_name}: {num_failed} of {rows} rows cannot be used"
        hints = [_HINTS[kind] for kind in kinds]
    elif not num_examples:
        num_failed, kinds = rows, [kind for kind in ERROR_KINDS if num_dropped[kind]]
        title = f"{file_name}: none of {rows} rows is left"
        hints = ["raise max_length"] if "too_long" in kinds else []
    else:
        return
    shown = sorted(error for kind in kinds for error in first_errors[kind])[:MAX_SHOWN_ROWS]
    lines, row_hints = _format_row_errors(shown)
    if num_failed > len(shown):
        lines.append(f"  and {num_failed - len(shown)} more")
    raise UserError("\n".join([title, *lines]), "; ".join([*row_hints, *hints]) or None)


def _format_row_errors(row_errors: Sequence[RowError]) -> tuple[list[str], list[str]]:
    """Return one line per reason with its rows, and the reasons' hints."""
    rows: dict[str, list[str]] = {}
    hints: dict[str, None] = {}
    for error in row_errors:
        reason, _, hint = str(error.reason).partition(_HINT_SEPARATOR)
        rows.setdefault(reason, []).append(str(error.row))
        hints |= {hint: None} if hint else {}
    lines = [f"  row{'s' * (len(n) > 1)} {', '.join(n)}: {reason}" for reason, n in rows.items()]
    return lines, list(hints)

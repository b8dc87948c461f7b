"""What to say of rows that no example can be made of."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from blossomtune.errors import UserError

ERROR_KINDS = ("unrenderable", "too_long")
"""Kinds of problems; each is also the key that says what happens then."""

MAX_SHOWN_ROWS = 5
"""How many rows a message names."""

_HINTS = {
    "unrenderable": "set unrenderable: drop to leave such rows out",
    "too_long": "raise max_length, or set too_long: drop or truncate",
}
_HINT_SEPARATOR = "\n  hint: "


class RowError(NamedTuple):
    """A row that is no example, and why."""

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
    """Checks what became of a file's rows.

    Args:
        name: the file.
        left: how many rows became examples.
        lost: how many did not, by kind.
        first: the first of these, by kind.
        config: a preprocessing block.

    Raises:
        UserError: where a row is lost and the configuration calls that an error, or none is left.
    """
    rows = num_examples + sum(num_dropped.values())
    kinds = [kind for kind in ERROR_KINDS if num_dropped[kind] and config[kind] == "error"]
    if kinds:
        cannot = sum(num_dropped[kind] for kind in kinds)
        title, hints = (
            f"{file_name}: {cannot} of {rows} rows cannot be used",
            [_HINTS[k] for k in kinds],
        )
    elif not num_examples:
        cannot, kinds = rows, [kind for kind in ERROR_KINDS if num_dropped[kind]]
        title = f"{file_name}: none of {rows} rows is left"
        hints = ["raise max_length"] if "too_long" in kinds else []
    else:
        return
    shown = sorted(problem for kind in kinds for problem in first_errors[kind])[:MAX_SHOWN_ROWS]
    told, more = _format_row_errors(shown)
    if cannot > len(shown):
        told.append(f"  and {cannot - len(shown)} more")
    raise UserError("\n".join([title, *told]), "; ".join([*more, *hints]) or None)


def _format_row_errors(row_errors: Sequence[RowError]) -> tuple[list[str], list[str]]:
    """A line for each reason, with its rows; and the hints that the reasons came with."""
    rows: dict[str, list[str]] = {}
    hints: dict[str, None] = {}
    for problem in row_errors:
        reason, _, hint = str(problem.reason).partition(_HINT_SEPARATOR)
        rows.setdefault(reason, []).append(str(problem.row))
        hints |= {hint: None} if hint else {}
    lines = [f"  row{'s' * (len(n) > 1)} {', '.join(n)}: {reason}" for reason, n in rows.items()]
    return lines, list(hints)

"""What to say of rows that no example can be made of."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from blossomtune.errors import UserError

KINDS = ("unrenderable", "too_long")
"""Kinds of problems; each is also the key that says what happens then."""

SHOWN = 5
"""How many rows a message names."""

_HINTS = {
    "unrenderable": "set unrenderable: drop to leave such rows out",
    "too_long": "raise max_length, or set too_long: drop or truncate",
}
_HINT = "\n  hint: "


class Problem(NamedTuple):
    """A row that is no example, and why."""

    row: int
    kind: str
    reason: UserError


def check(
    name: str,
    left: int,
    lost: Mapping[str, int],
    first: Mapping[str, Sequence[Problem]],
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
    rows = left + sum(lost.values())
    kinds = [kind for kind in KINDS if lost[kind] and config[kind] == "error"]
    if kinds:
        cannot = sum(lost[kind] for kind in kinds)
        title, hints = f"{name}: {cannot} of {rows} rows cannot be used", [_HINTS[k] for k in kinds]
    elif not left:
        cannot, kinds = rows, [kind for kind in KINDS if lost[kind]]
        title = f"{name}: none of {rows} rows is left"
        hints = ["raise max_length"] if "too_long" in kinds else []
    else:
        return
    shown = sorted(problem for kind in kinds for problem in first[kind])[:SHOWN]
    told, more = _told(shown)
    if cannot > len(shown):
        told.append(f"  and {cannot - len(shown)} more")
    raise UserError("\n".join([title, *told]), "; ".join([*more, *hints]) or None)


def _told(problems: Sequence[Problem]) -> tuple[list[str], list[str]]:
    """A line for each reason, with its rows; and the hints that the reasons came with."""
    rows: dict[str, list[str]] = {}
    hints: dict[str, None] = {}
    for problem in problems:
        reason, _, hint = str(problem.reason).partition(_HINT)
        rows.setdefault(reason, []).append(str(problem.row))
        hints |= {hint: None} if hint else {}
    lines = [f"  row{'s' * (len(n) > 1)} {', '.join(n)}: {reason}" for reason, n in rows.items()]
    return lines, list(hints)

"""Make every character of a text visible, and no two texts look the same."""

import unicodedata
from collections.abc import Iterator

SPACE, NEWLINE, TAB = "·", "⏎", "⇥"
LEARNT_MARKS, CONTROL_MARKS, CODE_MARKS = ("⟦", "⟧"), ("⟨", "⟩"), ("‹", "›")
SEPARATOR = "│"
"""Marks of the preview. The same characters of a row appear as codes."""

_SYMBOLS = {" ": SPACE, "\n": NEWLINE, "\t": TAB}
_MARKS = frozenset((*_SYMBOLS.values(), SEPARATOR, *LEARNT_MARKS, *CONTROL_MARKS, *CODE_MARKS))
_HIDDEN_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"))
"""Control, format (bidirectional too), surrogate, private, unassigned; spaces and separators."""

_HIDDEN_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters of other categories that most fonts draw as nothing."""


def split_visible(text: str) -> Iterator[tuple[str, bool]]:
    """Split a text into runs of visible characters and codes of the others.

    Spaces, newlines and tabs are visible characters: ``·``, ``⏎`` and ``⇥``.

    Args:
        text: Any text.

    Yields:
        Visible text and False, or the code of one character, such as ``U+200B``, and True.
    """
    run = ""
    for position, character in enumerate(text):
        if symbol := _SYMBOLS.get(character):
            run += symbol
        elif _needs_code(character, is_first=position == 0):
            if run:
                yield run, False
            yield f"U+{ord(character):04X}", True
            run = ""
        else:
            run += character
    if run:
        yield run, False


def make_visible(text: str) -> str:
    """Return a text with all characters visible; codes stand between ``‹`` and ``›``."""
    opening, closing = CODE_MARKS
    return "".join(
        f"{opening}{part}{closing}" if is_code else part for part, is_code in split_visible(text)
    )


def make_readable(text: str) -> str:
    """Return a text on one line with plain spaces; all other hidden characters are visible."""
    return make_visible(text).replace(SPACE, " ")


def _needs_code(character: str, *, is_first: bool) -> bool:
    category = unicodedata.category(character)
    return (
        character in _MARKS
        or character in _HIDDEN_LETTERS
        or category in _HIDDEN_CATEGORIES
        or (is_first and category.startswith("M"))  # it would join the mark before it
    )

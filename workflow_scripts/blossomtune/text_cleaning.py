"""Clean texts that somebody else wrote, for terminals, logs and files."""

import re
import unicodedata

MAX_LINE_CHARACTERS = 500
"""Longest text of a client that is kept."""

PLAIN_CONTROLS = frozenset("\n\t\u200c\u200d")
"""Newline, tab, and the joiners that Persian, Indic scripts and emojis need."""

_HIDDEN_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Control, format (bidirectional too), surrogate, private, unassigned; separators of lines."""


def is_hidden(character: str) -> bool:
    """Return whether a character shows nothing, or changes how others are shown."""
    return character not in PLAIN_CONTROLS and unicodedata.category(character) in _HIDDEN_CATEGORIES


def clean_line(text: str, limit: int = MAX_LINE_CHARACTERS) -> str:
    """Return a text on one line, without characters that a terminal acts on.

    Args:
        text: Any text.
        limit: Largest number of characters.

    Returns:
        The text with single spaces and U+FFFD for each hidden character; cut with an ellipsis.
    """
    line = re.sub(r"\s+", " ", text[: 4 * limit]).strip()
    line = "".join("\ufffd" if is_hidden(character) else character for character in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"

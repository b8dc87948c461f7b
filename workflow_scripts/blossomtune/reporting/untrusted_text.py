"""Render texts that a model or a client wrote as HTML."""

import re
from collections.abc import Iterator

from markupsafe import Markup

from blossomtune.reporting import formatting
from blossomtune.text_cleaning import is_hidden

MAX_CHARACTERS = 1200
"""Longest text that is shown in full."""


def render_text(text: str, limit: int = MAX_CHARACTERS) -> Markup:
    """Return a text as HTML that keeps its lines and shows hidden characters as codes.

    Args:
        text: any text.
        limit: largest number of characters; a note replaces the others.

    Returns:
        Escaped text, and ``<code>`` elements such as ``U+202E``. CR LF becomes LF.
    """
    shown = text[:limit].replace("\r\n", "\n")
    html = Markup("").join(
        Markup("<code>{}</code>").format(part) if is_code else Markup.escape(part)
        for part, is_code in _split_hidden(shown)
    )
    if len(text) > limit:
        rest = formatting.format_amount(len(text) - limit, "more character")
        html += Markup('<span class="range"> … {}</span>').format(rest)
    return html


def _split_hidden(text: str) -> Iterator[tuple[str, bool]]:
    """Yield runs of visible characters and False, or the code of a hidden one and True."""
    start = 0
    for position, character in enumerate(text):
        if is_hidden(character):
            yield text[start:position], False
            yield f"U+{ord(character):04X}", True
            start = position + 1
    yield text[start:], False


def shorten(text: str, limit: int) -> str:
    """Return the start of a text on one line.

    Args:
        text: any text.
        limit: largest number of characters.

    Returns:
        The text with single spaces; cut at a space, with an ellipsis, if it is longer.
    """
    line = re.sub(r"\s+", " ", text[: 4 * limit]).strip()
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    space = cut.rfind(" ")
    return f"{cut[:space] if space > limit // 2 else cut}…"

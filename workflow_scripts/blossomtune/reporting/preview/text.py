"""Render a preview as text for terminals."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from blossomtune.reporting.preview import descriptions, facts, visible
from blossomtune.reporting.preview.tokens import Token
from blossomtune.reporting.preview.view import Preview, PreviewFile, PreviewRow

_LEGEND = (
    f"{''.join(visible.LEARNT_MARKS)} learnt   "
    f"{''.join(visible.CONTROL_MARKS)} control token   {visible.SEPARATOR} next token   "
    f"{visible.SPACE} space   {visible.NEWLINE} newline   {visible.TAB} tab   "
    f"{visible.CODE_MARKS[0]}U+200B{visible.CODE_MARKS[1]} hidden character, or one of these marks"
)


def render_text(preview: Preview) -> str:
    """Return the preview as text; learnt tokens stand between ``⟦`` and ``⟧``."""
    return "\n".join(_render_lines(preview)) + "\n"


def render_tokens(tokens: Sequence[Token]) -> str:
    """Return tokens with marks; a line ends after a token with a newline."""
    text = ""
    for is_learnt, group in groupby(tokens, lambda token: token.is_learnt):
        run = visible.SEPARATOR.join(map(_render_token, group))
        if is_learnt:
            opening, closing = visible.LEARNT_MARKS
            run = f"{opening}{run}{closing}"
        text += run
    # the line ends after the token, also where a mark closes or separates
    return re.sub(f"\n([{visible.SEPARATOR}{visible.LEARNT_MARKS[1]}])", r"\1\n", text).strip("\n")


def _render_token(token: Token) -> str:
    text = visible.make_visible(token.text)
    if token.is_control:
        opening, closing = visible.CONTROL_MARKS
        text = f"{opening}{text}{closing}"
    return text + "\n" * ("\n" in token.text)


def _render_lines(preview: Preview) -> Iterator[str]:
    names = preview.names
    yield f"What {names['model']} reads and learns"
    yield f"partition {names['partition']}, preprocessing {names['preprocessing']}"
    yield descriptions.describe_examples(preview)
    yield ""
    for name, value in facts.list_facts(preview.manifest):
        yield f"{name}: {visible.make_readable(value)}"
    yield ""
    yield descriptions.describe_selection(preview)
    yield _LEGEND
    for warning in preview.manifest.chat_template.warnings:
        yield f"warning: {visible.make_readable(warning)}"
    for file in preview.files:
        yield from _render_file(file)


def _render_file(file: PreviewFile) -> Iterator[str]:
    title = f"{'held out' if file.is_held_out else 'client'}: {visible.make_readable(file.name)}"
    yield from ("", "", title, "=" * len(title), descriptions.describe_counts(file.counts))
    for row in file.rows:
        yield ""
        yield f"{row.name}: {descriptions.describe_row_tokens(row)}"
        yield from (f"  {line}" for line in _render_row(row))


def _render_row(row: PreviewRow) -> Iterator[str]:
    yield from render_tokens(row.first).split("\n")
    if row.num_hidden:
        yield descriptions.describe_hidden(row)
        yield from render_tokens(row.last).split("\n")
    for name, text in row.texts:
        yield f"{name}: {visible.make_readable(text)}"

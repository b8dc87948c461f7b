"""Render a preview as a self-contained page."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from blossomtune.reporting import formatting
from blossomtune.reporting.preview import descriptions, facts, visible
from blossomtune.reporting.preview.tokens import Token
from blossomtune.reporting.preview.view import Preview, PreviewRow
from blossomtune.reporting.style import PAGE_STYLE

_TEMPLATE_DIR = Path(__file__).parent
_TEMPLATE = "page.html.jinja"
_STYLE = "preview.css"
_MAX_UNFOLDED = 600  # tokens of a row; the middle of longer rows is folded away


def render_page(preview: Preview) -> str:
    """Return the preview as HTML without references to other files."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        function.__name__: function
        for function in (
            descriptions.describe_counts,
            descriptions.describe_hidden,
            descriptions.describe_row_tokens,
            fold_row,
            formatting.format_count,
            visible.make_readable,
            visible.split_visible,
        )
    }
    template = environment.from_string((_TEMPLATE_DIR / _TEMPLATE).read_text(encoding="utf-8"))
    style = PAGE_STYLE + (_TEMPLATE_DIR / _STYLE).read_text(encoding="utf-8")
    return template.render(
        preview=preview,
        facts=list(facts.list_facts(preview.manifest)),
        examples=descriptions.describe_examples(preview),
        selection=descriptions.describe_selection(preview),
        style=Markup(style),  # noqa: S704, our own files
    )


class FoldedRow(NamedTuple):
    """The tokens of a row in the order in which they appear.

    Attributes:
        head: Tokens that are always visible.
        folded: Tokens that are folded away, before those that are left out.
        folded_after: Tokens that are folded away, after those that are left out.
        tail: Tokens that are always visible.
    """

    head: Sequence[Token]
    folded: Sequence[Token]
    folded_after: Sequence[Token]
    tail: Sequence[Token]

    @property
    def num_folded(self) -> int:
        """Number of tokens that are folded away."""
        return len(self.folded) + len(self.folded_after)


def fold_row(row: PreviewRow) -> FoldedRow:
    """Fold away the middle of a long row."""
    half = _MAX_UNFOLDED // 2
    if len(row.first) + len(row.last) <= _MAX_UNFOLDED:
        return FoldedRow(row.first, [], [], row.last)
    if row.num_hidden:
        return FoldedRow(row.first[:half], row.first[half:], row.last[:-half], row.last[-half:])
    return FoldedRow(row.first[:half], row.first[half:-half], [], row.first[-half:])

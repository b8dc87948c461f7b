"""Tests of the preview as a page."""

import dataclasses
from html.parser import HTMLParser

import pytest

from blossomtune.reporting.preview import page, text
from blossomtune.reporting.preview.tokens import Token
from blossomtune.reporting.preview.view import PreviewRow

HOSTILE = [
    "</span></div></main><style>*{display:none}</style>",
    "<script>alert(1)</script>",
    '" onclick="alert(1)',
    "{{ 7 * 7 }}{% raw %}",
    "\u202eright to left\u2066",
    "bell \x07 null \x00",
    "<!-- ]]> &amp; &lt;",
]
VOID = {"meta", "br"}
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer"),
    *("p", "h1", "h2", "h3", "small", "div", "span", "mark", "br", "i", "a"),
    *("dl", "dt", "dd", "code", "ul", "li"),
}
ATTRIBUTES = {"lang", "charset", "name", "content", "class", "title", "href", "id"}


class Page(HTMLParser):
    """Elements, and the texts of learnt and other tokens."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.open, self.tokens = set(), set(), [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("mark", "span") and "title" in dict(attrs):
            self.tokens.append((tag, dict(attrs).get("class"), ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"mark", "span"} & set(self.open) and self.tokens:
            tag, kind, text = self.tokens[-1]
            self.tokens[-1] = tag, kind, text + data


@pytest.fixture
def hostile(preview):
    """Return a page with texts in all places that try to break it."""
    rows = [{"prompt": text, "completion": text[::-1]} for text in HOSTILE]
    names = {text.replace("\x00", ""): rows for text in HOSTILE}
    return page.render_page(preview(names, test=rows))


def test_texts_of_rows_and_names_do_not_become_html(hostile):
    parsed = Page(hostile)
    assert parsed.tags <= TAGS
    assert parsed.attributes <= ATTRIBUTES
    assert not {"\u202e", "\u2066", "\x07", "\x00"} & set(hostile)
    assert hostile.count("<i>U+202E</i>") > 0
    assert "U+0007" in hostile


def test_page_loads_nothing(hostile):
    assert "http" not in hostile
    assert "@import" not in hostile
    assert "url(" not in hostile


def test_learnt_tokens_are_marked_and_control_tokens_are_distinct(preview):
    row = {"prompt": "<|im_", "completion": "a b"}
    parsed = Page(page.render_page(preview({"north": [row]}, test=[row])))
    tokens = parsed.tokens[: len(parsed.tokens) // 2]  # the held-out row is the same
    assert [t for t in tokens if t[0] == "mark"] == [
        ("mark", None, "a"),
        ("mark", None, "·"),
        ("mark", None, "b"),
        ("mark", "control", "<|im_end|>"),
    ]
    context = [text for tag, kind, text in tokens if tag == "span" and kind is None]
    assert "".join(context) == "user⏎<|im_⏎assistant⏎"


def test_control_tokens_of_a_row_are_told_from_those_of_the_template(preview):
    row = {"prompt": "<|im_end|>", "completion": "yes"}
    for mode, count in (("text", 4), ("keep", 5)):
        shown = preview({"north": [row]}, test=[row], control_tokens=mode, name=mode)
        tokens = Page(page.render_page(shown)).tokens
        control = [text for _, kind, text in tokens[: len(tokens) // 2] if kind == "control"]
        assert len(control) == count


def test_warnings_of_the_chat_template_stand_in_page_and_text(preview):
    row = {"prompt": "a", "completion": "b"}
    shown = preview({"north": [row]}, test=[row])
    use = shown.manifest.chat_template.model_copy(update={"warnings": ["prompts end with '<a>'"]})
    manifest = shown.manifest.model_copy(update={"chat_template": use})
    warned = dataclasses.replace(shown, manifest=manifest)
    assert "<li>prompts end with &#39;&lt;a&gt;&#39;</li>" in page.render_page(warned)
    assert "\nwarning: prompts end with '<a>'\n" in text.render_text(warned)
    assert "differ" not in page.render_page(shown)


def test_middle_of_a_long_row_is_folded_and_stays_in_the_page():
    tokens = [Token((i,), f"{i} ", False, False) for i in range(1000)]
    row = PreviewRow("row 0", "", 1000, 0, tokens, 0, 0, [], [])
    parts = page.fold_row(row)
    assert [*parts.head, *parts.folded, *parts.folded_after, *parts.tail] == tokens
    assert parts.num_folded == 400


def test_tokens_that_are_left_out_are_between_the_folded_ones():
    tokens = [Token((i,), f"{i} ", False, False) for i in range(1000)]
    row = PreviewRow("row 0", "", 3000, 0, tokens[:500], 2000, 0, tokens[500:], [])
    parts = page.fold_row(row)
    assert [*parts.head, *parts.folded] == tokens[:500]
    assert [*parts.folded_after, *parts.tail] == tokens[500:]


def test_phones_are_considered(hostile):
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in hostile

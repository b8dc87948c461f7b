"""Texts that models and clients wrote, as HTML."""

import re
import unicodedata
from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from blossomtune.reporting.untrusted_text import render_text, shorten

ANY_TEXT = st.text(
    st.characters() | st.sampled_from("<>&\"'\0\x07\r\n\t\u202e\u2066\u200d\ud800\ufeff")
)


def read_back(html):
    """Return the text that HTML shows, with codes turned into their characters."""
    text = re.sub(r"<code>U\+([0-9A-F]+)</code>", lambda m: f"&#0{int(m[1], 16)};", html)
    assert "<" not in text
    return re.sub(r"&#0(\d+);|&[^;]+;", lambda m: chr(int(m[1])) if m[1] else unescape(m[0]), text)


@given(ANY_TEXT)
def test_all_characters_are_shown_and_none_is_markup(text):
    html = render_text(text)
    assert read_back(html) == text.replace("\r\n", "\n")
    html.encode("utf-8")


@given(ANY_TEXT)
def test_no_character_changes_the_direction_or_hides(text):
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    shown = {c for c in render_text(text) if unicodedata.category(c) in hidden}
    assert shown <= set("\n\t\u200c\u200d")


def test_long_texts_are_cut_with_a_note():
    html = render_text("ab\u202e" * 1_000_000, limit=300)
    assert html.endswith('<span class="range"> … 2,999,700 more characters</span>')
    assert html.count("<code>U+202E</code>") == 100
    assert render_text("x" * 300, limit=300) == "x" * 300


@given(ANY_TEXT, st.integers(2, 40))
def test_shortened_texts_are_one_line(text, limit):
    short = shorten(text, limit)
    assert len(short) <= limit
    assert not re.search(r"\s\s|[\n\r\t]", short)


def test_texts_are_shortened_between_words():
    assert shorten("one  two\nthree four", 12) == "one two…"
    assert shorten("one two", 12) == "one two"
    assert shorten("x" * 50, 10) == "x" * 9 + "…"

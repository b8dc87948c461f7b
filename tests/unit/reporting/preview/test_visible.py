"""Tests that hidden characters of a text are visible."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.reporting.preview import visible

SYMBOLS = {visible.SPACE: " ", visible.NEWLINE: "\n", visible.TAB: "\t"}
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}


def invert(text):
    """Return the text that was made visible."""
    parts = re.split(r"‹U\+([0-9A-F]+)›", text)
    texts = ["".join(SYMBOLS.get(c, c) for c in part) for part in parts[::2]]
    codes = [chr(int(code, 16)) for code in parts[1::2]] + [""]
    return "".join(t + c for t, c in zip(texts, codes, strict=True))


@given(st.text(st.characters(exclude_categories=())) | st.text("·⏎⇥│⟦⟧⟨⟩‹›U+ \n\t\u202e\ufe0f7"))
def test_no_two_texts_look_the_same(text):
    shown = visible.make_visible(text)
    assert invert(shown) == text
    assert not {c for c in shown if unicodedata.category(c) in HIDDEN}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\n", "a·b⏎"),
        ("\ttab\r\n", "⇥tab‹U+000D›⏎"),
        ("\u202egpj.exe", "‹U+202E›gpj.exe"),
        ("zero\u200bwidth\u00a0", "zero‹U+200B›width‹U+00A0›"),
        ("⟦not learnt⟧", "‹U+27E6›not·learnt‹U+27E7›"),
        ("\u0301 alone, é", "‹U+0301›·alone,·é"),
        ("\ud800", "‹U+D800›"),
        ("日本語 👩", "日本語·👩"),
    ],
)
def test_hidden_characters_and_marks_appear_as_codes(text, expected):
    assert visible.make_visible(text) == expected


def test_names_keep_their_spaces_on_one_line():
    assert visible.make_readable("St. Mary's\nward") == "St. Mary's⏎ward"

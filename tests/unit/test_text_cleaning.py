import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.text_cleaning import MAX_LINE_CHARACTERS, clean_line, is_hidden


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no memory", "no memory"),
        ("two\nlines\r\n\tand\u2028more ", "two lines and more"),
        ("\x1b[2J\x1b]0;title\x07red", "\ufffd[2J\ufffd]0;title\ufffdred"),
        ("file\u202egpj.exe", "file\ufffdgpj.exe"),
        ("zero\u200bwidth\ufeff", "zero\ufffdwidth\ufffd"),
        ("\ud800", "\ufffd"),
        ("ünïcödé 日本 👍🏽 نی\u200cم", "ünïcödé 日本 👍🏽 نی\u200cم"),
    ],
)
def test_line_has_no_characters_that_a_terminal_acts_on(text, line):
    assert clean_line(text) == line


def test_long_text_is_cut():
    assert clean_line("x" * 20_000_000) == "x" * (MAX_LINE_CHARACTERS - 1) + "…"
    assert clean_line("abc", limit=3) == "abc"
    assert clean_line("abcd", limit=3) == "ab…"


@given(st.text() | st.text(st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Zs"))))
def test_any_text_becomes_a_short_visible_line(text):
    line = clean_line(text)
    assert len(line) <= MAX_LINE_CHARACTERS
    assert not any(is_hidden(character) or character in "\n\t" for character in line)
    line.encode()

"""Tests of the token estimate."""

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.data.partitioning.token_estimate import estimate_tokens

ASCII = st.text(st.characters(max_codepoint=127), max_size=12) | st.none()


@settings(max_examples=100)
@given(texts=st.lists(ASCII, max_size=12), start=st.integers(0, 5), large=st.booleans())
def test_words_and_marks_of_ascii_text_are_counted(texts, start, large):
    array = pa.array(texts, pa.large_string() if large else pa.string())
    expected = sum(len(re.findall(r"\w+|[^\w\s]", text)) for text in texts[start:] if text)
    assert estimate_tokens(array.slice(start)) == expected


@pytest.mark.parametrize(
    ("text", "tokens"), [("für wärme", 2), ("да, нет", 3), ("你好。", 3), ("a — b", 3), ("", 0)]
)
def test_other_scripts_are_approximated(text, tokens):
    assert estimate_tokens(pa.array([text])) == tokens


def test_nested_text_is_counted_and_numbers_are_not():
    turns = [[{"role": "user", "content": "Hi there!"}], None, [{"role": "a", "content": None}]]
    batch = pa.RecordBatch.from_pydict(
        {"turns": turns, "n": [1, 2, 3], "tags": [["a b"], [], None]}
    )
    assert estimate_tokens(batch) == 1 + 3 + 1 + 2
    assert estimate_tokens(batch.slice(1)) == 1


def test_bytes_behind_a_null_are_not_counted():
    offsets = pa.array([0, 3, 5], pa.int32()).buffers()[1]
    validity, text = pa.py_buffer(b"\x02"), pa.py_buffer(b"a bc!")
    hidden = pa.Array.from_buffers(pa.string(), 2, [validity, offsets, text])
    assert hidden.to_pylist() == [None, "c!"]
    assert estimate_tokens(hidden) == 2

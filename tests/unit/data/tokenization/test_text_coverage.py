"""Tests of the check that a rendered text has all texts of a row."""

import json

from hypothesis import given
from hypothesis import strategies as st

from blossomtune.data.tokenization.text_coverage import find_unwritten_text


def test_missing_text_is_found():
    texts = [("content", "yes"), ("name", "Ann")]
    assert find_unwritten_text(texts, "Ann: yes") is None
    assert find_unwritten_text(texts, "yes") == ("name", "Ann")


def test_every_text_needs_an_occurrence_of_its_own():
    texts = [("content", "yes"), ("reasoning_content", "yes, since")]
    assert find_unwritten_text(texts, "yes, since") == ("content", "yes")
    assert find_unwritten_text(texts, "yes, since: yes") is None


def test_text_may_be_written_as_json():
    text = 'a "b"\nç'
    assert (
        find_unwritten_text([("content", text)], json.dumps({"x": text}, ensure_ascii=False))
        is None
    )


@given(st.lists(st.text(min_size=1).map(str.strip).filter(bool), max_size=5), st.data())
def test_joined_texts_are_complete_and_any_shorter_join_is_not(texts, data):
    pairs = [("content", text) for text in texts]
    assert find_unwritten_text(pairs, "\n".join(texts)) is None
    if texts:
        dropped = data.draw(st.integers(0, len(texts) - 1))
        rest = "\n".join(text for i, text in enumerate(texts) if i != dropped)
        if texts[dropped] not in rest:
            assert find_unwritten_text(pairs, rest) is not None

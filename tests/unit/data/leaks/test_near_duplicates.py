"""Tests of the search for near duplicates."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_texts import change_word, draw_texts, split_shingles

from blossomtune.data.leaks import near_duplicates
from blossomtune.data.leaks.near_duplicates import THRESHOLD, find_near_duplicates


def search(texts):
    array = pa.chunked_array([pa.array(texts, pa.large_string())])
    with tempfile.TemporaryDirectory() as folder:
        found = find_near_duplicates(array, Path(folder))
    return [(i, j) for i, j in found.tolist()]


def jaccard(one, other):
    a, b = set(split_shingles(one)), set(split_shingles(other))
    return len(a & b) / len(a | b)


@given(
    st.lists(st.text("ab", min_size=4, max_size=10), max_size=12, unique=True)
    | st.lists(st.text("abc de", max_size=20), max_size=15, unique=True)
)
@settings(derandomize=True)  # a pair at the threshold is missed once in 20,000
def test_pairs_are_those_at_the_threshold(texts):
    expected = [
        (i, j)
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if jaccard(texts[i], texts[j]) >= THRESHOLD
    ]
    assert search(texts) == expected


def test_known_near_duplicates_among_many_texts_are_found():
    texts = draw_texts(2_000, seed=3)
    changed = {i: change_word(texts[i], i) for i in range(0, 2_000, 10)}
    assert all(jaccard(texts[i], text) >= THRESHOLD for i, text in changed.items())
    pairs = search(texts + list(changed.values()))
    assert pairs == [(i, 2_000 + n) for n, i in enumerate(changed)]


def test_frame_around_all_texts_does_not_make_them_alike():
    frame = "Read the following text with care, and say whether it is good or bad, in one word: {}"
    texts = [frame.format(text) for text in draw_texts(500, seed=4, length=20)]
    assert jaccard(texts[0], texts[1]) > 0.5
    longer = draw_texts(1, seed=5)[0]
    texts += [frame.format(longer), frame.format(change_word(longer, 1))]
    assert search(texts) == [(500, 501)]


def test_texts_of_a_frame_alone_are_not_near():
    texts = ["Is this good or bad?" + "!" * i for i in range(40)]
    assert (0, 1) not in search(texts)


def test_large_comparisons_are_split(monkeypatch):
    texts = draw_texts(10, seed=5)
    texts += [change_word(text, i) for text in texts for i in range(5)]
    expected = search(texts)
    # lower limits, so that few texts are split as many are
    monkeypatch.setattr(near_duplicates, "_MAX_COMPARED_SHINGLES", 1_000)
    monkeypatch.setattr(near_duplicates, "_MAX_COMPARED_PAIRS", 3)
    assert len(expected) == 10 * 15
    assert search(texts) == expected


@pytest.mark.parametrize("texts", [[], [""], ["", "a"], ["abcdefgh"]])
def test_few_texts_have_no_near_duplicates(texts):
    assert search(texts) == []

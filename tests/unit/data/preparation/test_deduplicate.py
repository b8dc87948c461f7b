"""Tests of deduplication."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.data.preparation import deduplicate
from blossomtune.data.preparation.deduplicate import normalize_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
WORDS = st.lists(st.sampled_from(["a", "A", " ", ".", "é", "e\u0301", "1"])).map("".join)
TURNS = st.lists(st.fixed_dictionaries({"role": TEXT, "content": WORDS}), max_size=2)
KINDS = {"text": pa.string(), "n": pa.float64()}
KINDS["turns"] = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))


@st.composite
def draw_table(draw):
    row = st.fixed_dictionaries(
        {
            "text": st.none() | WORDS,
            "n": st.none() | st.sampled_from([0.0, 1.5]),
            "turns": st.none() | TURNS,
        }
    )
    rows = draw(st.lists(row, max_size=20))
    return pa.Table.from_pylist(rows, pa.schema(KINDS))


@given(
    draw_table(), st.sets(st.sampled_from(list(KINDS)), min_size=1), st.integers(1, 20), st.data()
)
def test_first_of_equal_rows_is_kept(table, columns, size, data):
    method = data.draw(st.sampled_from(["exact", "normalised"]))
    keys, expected = [], []
    for i, row in enumerate(table.select(sorted(columns)).to_pylist()):
        key = row if method == "exact" else normalize_text(row)
        if key not in keys:
            keys.append(key)
            expected.append(i)
    batches = table.select(sorted(columns)).to_batches(max_chunksize=size)
    hashes = deduplicate.hash_rows(batches, method)
    assert deduplicate.find_first_occurrences(hashes).tolist() == expected


def test_no_rows_have_no_first_occurrence():
    assert deduplicate.find_first_occurrences(deduplicate.hash_rows([], "exact")).tolist() == []


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("Hello,  World!", "hello world", True),
        ("hello_world", "hello world", True),
        ("(c) 2024", "C 2024", True),
        ("Straße", "STRASSE", True),
        ("ﬁne ①", "fine 1", True),  # ligature, circled digit
        ("café", "cafe\u0301", True),
        ("café", "cafe", False),
        ("helloworld", "hello world", False),
        ("1.5", "15", False),
        ("की", "का", False),  # vowel signs are combining marks
        (":)", ":(", False),
        ("", " ", True),
        ("10", "01", False),
    ],
)
def test_texts_are_equal_after_normalization(one, other, equal):
    assert (normalize_text(one) == normalize_text(other)) is equal


def test_normalization_applies_inside_lists_and_objects():
    value = {"Turns": [{"text": "A, B"}, None], "n": 1.5}
    assert normalize_text(value) == {"Turns": [{"text": "a b"}, None], "n": 1.5}


@given(st.text())
def test_normalization_is_idempotent(text):
    once = normalize_text(text)
    assert normalize_text(once) == once
    assert once == unicodedata.normalize("NFKC", once)


def test_hash_is_sixteen_bytes_per_row():
    hashes = deduplicate.hash_rows([pa.record_batch({"text": ["x" * 1000] * 3})], "exact")
    assert (hashes.shape, hashes.dtype) == ((3, 2), np.uint64)

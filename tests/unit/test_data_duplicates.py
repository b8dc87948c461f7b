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
def tables(draw):
    row = st.fixed_dictionaries(
        {
            "text": st.none() | WORDS,
            "n": st.none() | st.sampled_from([0.0, 1.5]),
            "turns": st.none() | TURNS,
        }
    )
    rows = draw(st.lists(row, max_size=20))
    return pa.Table.from_pylist(rows, pa.schema(KINDS))


@given(tables(), st.sets(st.sampled_from(list(KINDS)), min_size=1), st.integers(1, 20), st.data())
def test_of_equal_rows_the_first_is_kept(table, columns, size, data):
    how = data.draw(st.sampled_from(["exact", "normalised"]))
    seen, expected = [], []
    for i, row in enumerate(table.select(sorted(columns)).to_pylist()):
        key = row if how == "exact" else normalize_text(row)
        if key not in seen:
            seen.append(key)
            expected.append(i)
    batches = table.select(sorted(columns)).to_batches(max_chunksize=size)
    assert (
        deduplicate.find_first_occurrences(deduplicate.hash_rows(batches, how)).tolist() == expected
    )


def test_no_rows():
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
def test_normalised(one, other, equal):
    assert (normalize_text(one) == normalize_text(other)) is equal


def test_normalised_goes_into_lists_and_objects_and_leaves_the_rest():
    value = {"Turns": [{"text": "A, B"}, None], "n": 1.5}
    assert normalize_text(value) == {"Turns": [{"text": "a b"}, None], "n": 1.5}


@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    once = normalize_text(text)
    assert normalize_text(once) == once
    assert once == unicodedata.normalize("NFKC", once)


def test_memory_is_sixteen_bytes_a_row():
    known = deduplicate.hash_rows([pa.record_batch({"text": ["x" * 1000] * 3})], "exact")
    assert (known.shape, known.dtype) == ((3, 2), np.uint64)

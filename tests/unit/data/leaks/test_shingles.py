"""Tests of shingles."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from random_texts import split_shingles

from blossomtune.data.leaks import shingles
from blossomtune.data.leaks.shingles import hash_shingles

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.lists(TEXT, max_size=8))
def test_every_text_has_the_hashes_of_its_own_windows(texts):
    sets = hash_shingles(texts)
    windows = [split_shingles(text) for text in texts]
    assert sets.counts.tolist() == [len(w) for w in windows]
    one_by_one = [h for w in windows for each in w for h in hash_shingles([each]).hashes.tolist()]
    assert sets.hashes.tolist() == one_by_one
    different = {each for w in windows for each in w}
    assert len(set(one_by_one)) == len(different)


@given(st.lists(TEXT, max_size=8), st.sets(st.integers(0, 20)))
def test_sets_lose_repetitions_and_chosen_shingles(texts, positions):
    sets = hash_shingles(texts)
    removed = sets.hashes[[i for i in positions if i < len(sets.hashes)]]
    rest = sets.remove(removed).remove_repetitions()
    expected = [set(hash_shingles([t]).hashes.tolist()) - set(removed.tolist()) for t in texts]
    assert rest.counts.tolist() == [len(each) for each in expected]
    assert rest.hashes.tolist() == [h for each in expected for h in sorted(each)]


def test_shingles_of_more_than_half_of_the_texts_are_common():
    texts = [f"is this good or bad {i:05} {i:05}" for i in range(3_000)]
    common = shingles.find_common_shingles(pa.chunked_array([texts]))
    assert set(common.tolist()) >= set(hash_shingles(["is this good or bad"]).hashes.tolist())
    assert len(common) < 30


def test_few_texts_have_no_common_shingles():
    texts = ["the same frame around everything"] * (shingles.MIN_SAMPLE - 1)
    assert len(shingles.find_common_shingles(pa.chunked_array([texts]))) == 0


@given(st.lists(st.integers(0, 3), max_size=6))
def test_chunks_have_all_texts_in_order(sizes):
    texts = [f"{i}" * (size * shingles._MAX_CHUNK_BYTES // 2) for i, size in enumerate(sizes)]
    chunks = [*shingles.iterate_chunks(pa.chunked_array([pa.array(texts, pa.large_string())]))]
    assert [text for chunk in chunks for text in chunk] == texts
    assert all(len(c) == 1 or sum(map(len, c)) <= shingles._MAX_CHUNK_BYTES for c in chunks)

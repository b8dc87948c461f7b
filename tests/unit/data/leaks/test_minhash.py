"""Tests of MinHash signatures and their candidates."""

import logging

import numpy as np
import pytest
from datasketch import MinHash
from random_texts import draw_texts

from blossomtune.data.leaks import minhash
from blossomtune.data.leaks.shingles import hash_shingles


def test_signatures_are_those_of_datasketch(tmp_path):
    texts = [*draw_texts(20, seed=0), "", "short", "x" * 500]
    sets = hash_shingles(texts)
    signatures = minhash.compute_signatures([sets], len(texts), tmp_path / "file")
    for signature, text in zip(signatures, texts, strict=True):
        reference = MinHash(num_perm=len(signature), seed=minhash.SEED, hashfunc=int)
        reference.update_batch((hash_shingles([text]).hashes >> np.uint64(32)).tolist())
        assert signature.tolist() == reference.hashvalues.tolist()


def test_signatures_do_not_depend_on_chunks(tmp_path):
    texts = draw_texts(30, seed=1)
    whole = minhash.compute_signatures([hash_shingles(texts)], 30, tmp_path / "whole")
    chunks = (hash_shingles(texts[i : i + 7]) for i in range(0, 30, 7))
    parts = minhash.compute_signatures(chunks, 30, tmp_path / "parts")
    assert np.array_equal(whole, parts)


def test_set_without_shingles_has_the_largest_minima_and_no_candidates(tmp_path):
    sets = hash_shingles(["abcdefgh", "common", "abcdefgh", "common"])
    rest = sets.remove(hash_shingles(["common"]).hashes)
    signatures = minhash.compute_signatures([rest], 4, tmp_path / "file")
    assert set(signatures[1].tolist()) == {2**32 - 1}
    assert np.array_equal(signatures[0], signatures[2])
    pairs = np.concatenate([*minhash.iterate_candidates(signatures)])
    assert np.unique(pairs, axis=0).tolist() == [[0, 2]]


def test_candidates_are_the_pairs_that_are_equal_in_a_band():
    rng = np.random.default_rng(2)
    signatures = rng.integers(0, 3, (60, 125), dtype=np.uint32)
    pairs = np.concatenate([*minhash.iterate_candidates(signatures)])
    bands = signatures.reshape(60, minhash.NUM_BANDS, minhash.ROWS_PER_BAND)
    expected = {
        (i, j)
        for i in range(60)
        for j in range(i + 1, 60)
        if (bands[i] == bands[j]).all(axis=1).any()
    }
    assert expected
    assert {(i, j) for i, j in pairs.tolist()} == expected


def test_number_of_candidates_is_limited_with_a_warning(monkeypatch, caplog):
    # a lower limit, since the real one takes millions of rows
    monkeypatch.setattr(minhash, "_MAX_CANDIDATES", 100)
    signatures = np.zeros((300, 125), dtype=np.uint32)
    with caplog.at_level(logging.WARNING):
        sizes = [len(pairs) for pairs in minhash.iterate_candidates(signatures)]
    assert sum(sizes) <= minhash.NUM_BANDS * (100 + 300)
    assert "not compared" in caplog.text


@pytest.mark.parametrize("num_texts", [0, 1])
def test_fewer_than_two_texts_have_no_candidates(num_texts):
    assert [*minhash.iterate_candidates(np.zeros((num_texts, 125), dtype=np.uint32))] == []

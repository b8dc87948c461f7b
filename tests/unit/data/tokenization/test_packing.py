"""Tests of packing."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.data.tokenization.packing import pack_examples


@given(
    st.integers(8, 40).flatmap(
        lambda size: st.tuples(st.just(size), st.lists(st.integers(1, size), min_size=1))
    )
)
@settings(max_examples=150)
def test_packing_equals_trls(case):
    from trl.data_utils import _pack_bfd

    size, lengths = case
    rows = pa.table({"input_ids": pa.array([[i] * n for i, n in enumerate(lengths)])})
    theirs = _pack_bfd(rows, size)
    sequences = pack_examples(lengths, size)
    ids = [[i for i in sequence for _ in range(lengths[i])] for sequence in sequences]
    assert theirs["input_ids"].to_pylist() == ids
    assert theirs["seq_lengths"].to_pylist() == [
        [lengths[i] for i in sequence] for sequence in sequences
    ]


def test_sequences_contain_each_example_once_and_are_nearly_full():
    lengths = np.random.default_rng(0).integers(1, 513, 10_000)
    sequences = pack_examples(lengths, 512)
    assert sorted(i for sequence in sequences for i in sequence) == list(range(10_000))
    assert max(lengths[sequence].sum() for sequence in sequences) <= 512
    assert len(sequences) <= 1.02 * lengths.sum() / 512

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
def test_the_same_as_trls(drawn):
    from trl.data_utils import _pack_bfd

    size, lengths = drawn
    rows = pa.table({"input_ids": pa.array([[i] * n for i, n in enumerate(lengths)])})
    theirs = _pack_bfd(rows, size)
    sequences = pack_examples(lengths, size)
    ids = [[i for example in some for i in [example] * lengths[example]] for some in sequences]
    assert theirs["input_ids"].to_pylist() == ids
    assert theirs["seq_lengths"].to_pylist() == [[lengths[i] for i in some] for some in sequences]


def test_every_example_once_and_no_sequence_too_long():
    lengths = np.random.default_rng(0).integers(1, 513, 10_000)
    sequences = pack_examples(lengths, 512)
    assert sorted(i for some in sequences for i in some) == list(range(10_000))
    assert max(lengths[some].sum() for some in sequences) <= 512
    assert len(sequences) <= 1.02 * lengths.sum() / 512

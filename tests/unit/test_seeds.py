from hypothesis import given
from hypothesis import strategies as st

from blossomtune.seeds import derive_seed

PURPOSE = st.lists(st.text("ab1") | st.integers(0, 3), max_size=3)


def test_seed_is_the_same_on_every_machine():
    # first four bytes of sha256(b"42\x1fbatches\x1f0\x1f1"), as sha256sum says
    assert derive_seed(42, "batches", 0, 1) == 0x4DFB43BD


@given(st.integers(0, 2**40), PURPOSE)
def test_seed_has_32_bits_and_is_reproducible(seed, purpose):
    assert 0 <= derive_seed(seed, *purpose) < 2**32
    assert derive_seed(seed, *purpose) == derive_seed(seed, *purpose)


@given(st.lists(st.tuples(st.integers(0, 9), PURPOSE), unique_by=str, min_size=2, max_size=8))
def test_different_purposes_have_different_seeds(drawn):
    distinct = {tuple(str(part) for part in (seed, *purpose)) for seed, purpose in drawn}
    assert len({derive_seed(seed, *purpose) for seed, purpose in drawn}) == len(distinct)

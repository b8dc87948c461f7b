"""Tests of the selection of rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.reporting.preview.select_rows import MAX_ROWS, select_rows

SIZES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=80)


@given(SIZES, st.integers(0, 2**32 - 1))
def test_extremes_and_as_many_others_as_fit_are_selected(sizes, seed):
    tokens, learnt = [n for n, _ in sizes], [n for _, n in sizes]
    selected = select_rows(tokens, learnt, seed)
    assert selected == select_rows(tokens, learnt, seed)
    assert len(selected) == min(MAX_ROWS, len(sizes))
    assert list(selected) == sorted(selected)
    for values, low, high in (
        (tokens, "shortest", "longest"),
        (learnt, "fewest learnt tokens", "most learnt tokens"),
    ):
        by_reason = {r: i for i, reasons in selected.items() for r in reasons.split(", ")}
        if len(set(values)) > 1:
            assert values[by_reason[low]] == min(values)
            assert values[by_reason[high]] == max(values)
        else:
            assert low not in by_reason


def test_drawn_rows_are_spread_over_the_lengths():
    lengths = np.random.default_rng(0).permutation(10_000)
    drawn = sorted(lengths[i] for i in select_rows(lengths, [1] * 10_000, seed=3))
    # one in each eighth, beside the shortest and the longest
    assert [int(length) * 8 // 10_000 for length in drawn[1:-1]] == list(range(8))


def test_another_seed_draws_other_rows():
    lengths = range(1000)
    assert select_rows(lengths, lengths, 1) != select_rows(lengths, lengths, 2)

"""Tests of sampling test rows."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.data.preparation import test_split
from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed

LABELS = ["a"] * 70 + ["b"] * 25 + ["c"] * 5
SIZES = st.dictionaries(st.text(max_size=3), st.integers(1, 1000), min_size=1, max_size=8)


@pytest.mark.parametrize("size", [1, 10, 37, 0.1, 0.001, 0.5, 99])
@pytest.mark.parametrize("groups", [None, LABELS])
def test_mask_has_exactly_the_requested_size(size, groups):
    mask = test_split.sample_row_mask(groups, 100, size, seed=1)
    assert (mask.shape, mask.dtype) == ((100,), bool)
    assert mask.sum() == (size if size >= 1 else max(1, round(size * 100)))


@given(st.lists(st.sampled_from(["a", "b", None, 3]), min_size=2), st.data())
def test_each_group_has_its_share(groups, data):
    rows = len(groups)
    size = data.draw(st.integers(1, rows - 1))
    mask = test_split.sample_row_mask(groups, rows, size, seed=data.draw(st.integers(0, 9)))
    assert mask.sum() == size
    total, test = Counter(groups), Counter(g for g, m in zip(groups, mask, strict=True) if m)
    assert all(abs(test[g] - total[g] * size / rows) < 1 for g in total)


def test_stratified_split_keeps_the_shares():
    mask = test_split.sample_row_mask(np.array(LABELS), 100, 20, seed=1)
    assert Counter(np.array(LABELS)[mask].tolist()) == {"a": 14, "b": 5, "c": 1}


@given(st.lists(st.sampled_from("abc"), min_size=2), st.integers(0, 9))
def test_each_group_is_sampled_by_its_own_seed(groups, seed):  # splits must stay the same
    members = {name: [i for i, g in enumerate(groups) if g == name] for name in groups}
    counts = test_split.apportion({name: len(m) for name, m in members.items()}, 1)
    expected = set()
    for name, rows in members.items():
        random = np.random.default_rng(derive_seed(seed, "test split", name))
        expected |= set(random.permutation(rows)[: counts[name]].tolist())
    mask = test_split.sample_row_mask(groups, len(groups), 1, seed)
    assert set(np.flatnonzero(mask).tolist()) == expected


def test_split_depends_on_the_seed():
    first, again, other = (
        test_split.sample_row_mask(LABELS, 100, 20, seed).tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_split_without_training_rows_is_rejected():
    with pytest.raises(UserError, match=r"test\.size: 100 of 100 rows leaves none to train on"):
        test_split.sample_row_mask(None, 100, 100, seed=1)


@given(SIZES, st.data())
def test_apportionment_is_within_one_of_the_exact_share(sizes, data):
    size_sum = sum(sizes.values())
    total = data.draw(st.integers(0, size_sum))
    counts = test_split.apportion(sizes, total)
    assert sum(counts.values()) == total
    assert all(abs(counts[n] - sizes[n] * total / size_sum) < 1 for n in sizes)
    assert all(counts[n] <= sizes[n] for n in sizes)
    assert test_split.apportion(dict(reversed(sizes.items())), total) == counts

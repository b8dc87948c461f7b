"""Tests of the split of a client's rows."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.data.partitioning.client_split import (
    check_client_sizes,
    compute_min_client_rows,
    split_client_rows,
)
from blossomtune.errors import UserError

SIZE = st.sampled_from([0, 1, 7, 0.1, 0.33, 0.5])


def make_config(min_rows=1, test=0, validation=0, seed=1):
    sizes = {"test_size": test, "validation_size": validation}
    return {"partitioner": "iid", "min_rows": min_rows, "seed": seed, **sizes}


@settings(max_examples=60)
@given(rows=st.integers(1, 60), test=SIZE, validation=SIZE, kinds=st.integers(0, 4))
def test_splits_contain_all_rows_once(rows, test, validation, kinds):
    config = make_config(1, test, validation)
    try:
        check_client_sizes([("a", rows)], config)
    except UserError:
        return
    row_indices = np.arange(100, 100 + 2 * rows, 2)
    codes = np.arange(rows) % kinds if kinds else None
    splits = split_client_rows(row_indices, codes, config, 3)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == row_indices.tolist()
    for name, size in (("test", test), ("validation", validation)):
        expected = size if size >= 1 else max(1, round(size * rows)) if size else 0
        assert len(splits.get(name, ())) == expected
    assert all((np.diff(part) > 0).all() for part in splits.values())
    assert len(splits["train"])


def test_labels_keep_their_shares():
    codes = np.arange(100) % 4 // 3  # one in four
    splits = split_client_rows(np.arange(100), codes, make_config(test=20, validation=0.4), 0)
    counts = {name: Counter(codes[rows].tolist()) for name, rows in splits.items()}
    assert counts == {"test": {0: 15, 1: 5}, "validation": {0: 30, 1: 10}, "train": {0: 30, 1: 10}}


def test_clients_and_splits_have_their_own_seeds():
    def split(client=0, **changes):
        return split_client_rows(
            np.arange(60), None, make_config(test=20, validation=20, **changes), client
        )

    assert split()["test"].tolist() == split()["test"].tolist()
    assert split()["test"].tolist() != split(client=1)["test"].tolist()
    assert split()["test"].tolist() != split(seed=2)["test"].tolist()


@settings(max_examples=60)
@given(min_rows=st.integers(1, 40), test=SIZE, validation=st.sampled_from([0, 2, 0.1, 0.4]))
def test_min_client_rows_are_sufficient(min_rows, test, validation):
    config = make_config(min_rows, test, validation)
    check_client_sizes([("a", compute_min_client_rows(config))], config)
    with pytest.raises(UserError):
        check_client_sizes([("a", min_rows - 1)], config)


def test_fractions_without_training_rows_are_rejected():
    with pytest.raises(UserError, match="test_size and validation_size: together they leave no"):
        compute_min_client_rows(make_config(test=0.5, validation=0.5))


def test_clients_with_too_few_rows_are_listed():
    with pytest.raises(UserError) as error:
        check_client_sizes([("a", 5), ("b", 4), ("c", 0)], make_config(4, validation=0.25))
    assert str(error.value) == (
        "min_rows: 4, validation_size: 0.25: too few rows: b has 4, c has 0\n"
        "  hint: use fewer clients, a more even partitioner, or smaller numbers for these keys"
    )
    with pytest.raises(UserError, match=r"client 4 has 1, … \(9 clients\)"):
        check_client_sizes([(f"client {i}", 1) for i in range(9)], make_config(2))

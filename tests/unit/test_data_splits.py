from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.data import splits
from blossomtune.errors import UserError

TABLE = pa.table({"n": list(range(100)), "label": ["a"] * 70 + ["b"] * 25 + ["c"] * 5})
SIZES = st.dictionaries(st.text(max_size=3), st.integers(1, 1000), min_size=1, max_size=8)


def test_derived_columns_see_the_file_and_those_before_them():
    table = splits.derive(
        pa.table({"text": [" x ", "y"]}),
        {"domain": "{{ file | replace('.txt', '') }}", "both": " {{ domain }}-{{ text }} "},
        "tweets.txt",
    )
    assert table.column_names == ["text", "domain", "both"]
    assert table["both"].to_pylist() == ["tweets- x", "tweets-y"]
    assert table["text"].to_pylist() == [" x ", "y"]


def test_a_derived_column_that_uses_an_unknown_one():
    with pytest.raises(UserError) as error:
        splits.derive(pa.table({"rating": [1.0]}), {"label": "{{ ratin }}"}, "a.csv")
    assert "row 0 of a.csv: derive.label: there is no column 'ratin'" in str(error.value)
    assert "did you mean 'rating'? columns: file, rating" in str(error.value)


def test_of_equal_rows_the_first_is_kept():
    table = pa.table({"n": [0, 1, 2, 3], "text": ["x", "y", "x", None]})
    assert splits.deduplicate(table, ["text"])["n"].to_pylist() == [0, 1, 3]
    assert splits.deduplicate(table, []) is table


def test_deduplicating_by_a_column_that_is_not_there():
    with pytest.raises(
        UserError, match=r"deduplicate_by: there is no column 'label2'; did you mean"
    ):
        splits.deduplicate(TABLE, ["label2"])


@pytest.mark.parametrize("size", [1, 10, 37, 0.1, 0.001, 0.5, 99])
@pytest.mark.parametrize("stratify_by", [None, "label"])
def test_every_row_is_in_one_part_and_the_size_is_exact(size, stratify_by):
    train, test = splits.hold_out(TABLE, size, stratify_by, seed=1)
    assert test.num_rows == (size if size >= 1 else max(1, round(size * 100)))
    assert sorted(train["n"].to_pylist() + test["n"].to_pylist()) == list(range(100))
    assert test["n"].to_pylist() == sorted(test["n"].to_pylist())


def test_the_test_split_keeps_the_shares():
    _, test = splits.hold_out(TABLE, 20, "label", seed=1)
    assert Counter(test["label"].to_pylist()) == {"a": 14, "b": 5, "c": 1}


def test_the_seed_decides():
    first, again, other = (
        splits.hold_out(TABLE, 20, "label", seed)[1]["n"].to_pylist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_stratifying_by_a_column_that_is_not_there():
    with pytest.raises(UserError, match=r"test\.stratify_by: there is no column 'lable'; did you"):
        splits.hold_out(TABLE, 20, "lable", seed=1)


def test_a_test_split_that_leaves_nothing():
    with pytest.raises(UserError, match=r"test\.size: 100 of 100 rows leaves none to train on"):
        splits.hold_out(TABLE, 100, None, seed=1)


@given(SIZES, st.data())
def test_largest_remainders(sizes, data):
    whole = sum(sizes.values())
    total = data.draw(st.integers(0, whole))
    counts = splits.apportion(sizes, total)
    assert sum(counts.values()) == total
    assert all(abs(counts[n] - sizes[n] * total / whole) < 1 for n in sizes)
    assert all(counts[n] <= sizes[n] for n in sizes)
    assert splits.apportion(dict(reversed(sizes.items())), total) == counts

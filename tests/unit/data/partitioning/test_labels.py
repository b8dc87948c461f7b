"""Tests of label encoding and of the Jensen-Shannon distance."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.data.partitioning.labels import (
    encode_labels,
    encode_required_labels,
    format_values,
    jensen_shannon_distance,
)
from blossomtune.errors import UserError


@pytest.mark.parametrize(
    ("column", "categories", "codes"),
    [
        (["b", "a", None, "b"], ["a", "b"], [1, 0, -1, 1]),
        ([10, 9, 10, 2], [2, 9, 10], [2, 1, 2, 0]),
        ([True, None, False], [False, True], [1, -1, 0]),
        ([2.5, float("nan"), -1.0, None], [-1.0, 2.5], [1, -1, 0, -1]),
        ([date(2025, 1, 2), date(2024, 1, 2)], [date(2024, 1, 2), date(2025, 1, 2)], [1, 0]),
        ([None, None], [], [-1, -1]),
        (pa.array(["é", "z", "é"]).dictionary_encode(), ["z", "é"], [1, 0, 1]),
    ],
)
def test_column_is_encoded_in_chunks(column, categories, codes):
    array = column if isinstance(column, pa.Array) else pa.array(column)
    for parts in ([array], [array.slice(0, 1), array.slice(1)], [array.slice(0, 0), array]):
        labels = encode_labels("column", "c", parts)
        assert labels.categories == categories
        assert labels.codes.tolist() == codes


def test_no_rows_have_no_categories():
    labels = encode_labels("column", "c", [])
    assert (labels.categories, labels.codes.tolist()) == ([], [])


def test_lists_are_rejected_as_labels():
    with pytest.raises(UserError, match="label_column: values of column 'turns' are list<"):
        encode_labels("label_column", "turns", [pa.array([["a"], ["b"]])])


def test_missing_label_is_rejected_for_assignment():
    with pytest.raises(UserError, match="column: 2 training rows have no 'c'"):
        encode_required_labels({"column": "c"}, pa.chunked_array([["a", None], [None]]))


def test_labels_are_counted_by_text():
    labels = encode_labels("column", "c", [pa.array([1, None, 3, 1])])
    assert labels.count_labels(np.array([0, 1, 3])) == {"1": 2, "null": 1}
    texts = encode_labels("column", "c", [pa.array(["null", None])])
    assert texts.count_labels(np.arange(2)) == {"null": 2}


def test_long_list_of_values_is_shortened():
    assert format_values([1, 2], 2) == "1, 2"
    assert format_values(["a", "b", "c"], 2) == "a, b, …"


def test_distance_of_simple_distributions():
    assert jensen_shannon_distance({"a": 5, "b": 5}, {"a": 50, "b": 50}) == 0
    assert jensen_shannon_distance({"a": 1}, {"a": 1, "b": 10**12}) == pytest.approx(1, abs=1e-5)
    # M = (3/4, 1/4): half of log2(4/3), and half of (1/2 log2(2/3) + 1/2 log2(2))
    assert jensen_shannon_distance({"a": 7}, {"a": 10, "b": 10}) == round(0.311278**0.5, 6)


def test_distance_of_nearly_equal_distributions_is_zero():
    counts = dict(zip("abcd", (195953192, 415421866, 719843682, 340047891), strict=True))
    assert jensen_shannon_distance(counts, counts | {"a": 195953200}) == 0


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=1)


@settings(max_examples=50)
@given(counts=COUNTS, others=COUNTS)
def test_distance_is_the_root_of_the_divergence(counts, others):
    total_counts = {k: counts.get(k, 0) + others.get(k, 0) for k in counts | others}
    p = np.array([counts.get(k, 0) for k in total_counts]) / sum(counts.values())
    q = np.array(list(total_counts.values())) / sum(total_counts.values())

    def entropy(probabilities):
        return -sum(s * np.log2(s) for s in probabilities if s > 0)

    divergence = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    distance = jensen_shannon_distance(counts, total_counts)
    assert 0 <= distance <= 1
    assert distance == pytest.approx(max(divergence, 0) ** 0.5, abs=2e-6)

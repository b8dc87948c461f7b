import math

import pytest
from flwr.app import MetricRecord
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.federation.messages.metric_ranges import Range, read_metrics

VALUES = st.floats() | st.integers(-(2**63), 2**63 - 1) | st.lists(st.floats())


@given(st.dictionaries(st.sampled_from("abc") | st.text(), VALUES))
def test_any_record_is_within_the_ranges_or_rejected(values):
    ranges = {"a": Range(0, 1e6, is_whole=True), "b": Range(-1, 1)}
    try:
        metrics = read_metrics(MetricRecord(values), ranges)
    except ValueError as error:
        assert len(str(error)) < 200
        return
    assert values.keys() == metrics.keys() == ranges.keys()
    assert all(ranges[name].low <= value <= ranges[name].high for name, value in metrics.items())
    assert metrics["a"] == int(metrics["a"])


@pytest.mark.parametrize(("value", "is_possible"), [(0, True), (1, True), (0.5, False), (2, False)])
def test_ends_are_included(value, is_possible):
    ranges = {"a": Range(0, 1, is_whole=True)}
    if is_possible:
        assert read_metrics(MetricRecord({"a": value}), ranges) == {"a": value}
        return
    with pytest.raises(ValueError, match="for a; a whole number from 0 to 1 is possible"):
        read_metrics(MetricRecord({"a": value}), ranges)


def test_no_range_contains_nan():
    with pytest.raises(ValueError, match="the reply says nan for a"):
        read_metrics(MetricRecord({"a": math.nan}), {"a": Range(-math.inf, math.inf)})

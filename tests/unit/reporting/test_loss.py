"""The places of labels in the plot of losses."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from blossomtune.reporting.loss import place_labels


@given(st.lists(st.floats(min_value=0, max_value=300), max_size=20))
def test_labels_keep_their_order_and_their_distance(wanted):
    found = place_labels(wanted, 14, 20, 280)
    placed = [p for _, p in sorted(zip(wanted, found, strict=True))]
    assert all(b - a >= 14 - 1e-9 for a, b in pairwise(placed))
    assert all(p >= 20 for p in placed)
    if len(wanted) * 14 <= 260:
        assert all(p <= 280 + 1e-9 for p in placed)

"""The canvas, its scales, and the places of its labels."""

import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from blossomtune.reporting.svg import (
    Canvas,
    compute_round_ticks,
    compute_ticks,
    compute_ticks_near,
    place_labels,
)

numbers = st.floats(min_value=0, max_value=300)


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_ticks_reach_the_highest_value_in_even_steps(high):
    found = compute_ticks(high)
    assert found[0] == 0
    assert found[-1] >= high * 0.998
    assert found[-2] < high
    assert 3 <= len(found) <= 6


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_near_values_enclose_them_in_even_steps(low, size):
    found = compute_ticks_near(low, low + size)
    slack = 1e-6 * max(1e-3, abs(low), size)
    assert found[0] <= low + slack
    assert found[-1] >= low + size - slack
    steps = [b - a for a, b in pairwise(found)]
    assert 1 <= len(steps) <= 8
    assert max(steps) - min(steps) <= slack


@given(st.integers(0, 500), st.integers(0, 2000))
def test_round_ticks_are_few_and_among_the_rounds(first, more):
    found = compute_round_ticks(first, first + more)
    assert len(found) <= 11
    assert all(first <= number <= first + more for number in found)


def test_ticks_of_nothing():
    assert compute_ticks(0) == compute_ticks(float("nan")) == compute_ticks(float("inf")) == [0, 1]


@given(st.lists(numbers, max_size=20))
def test_labels_keep_their_order_and_their_distance(wanted):
    found = place_labels(wanted, 14, 20, 280)
    placed = [p for _, p in sorted(zip(wanted, found, strict=True))]
    assert all(b - a >= 14 - 1e-9 for a, b in pairwise(placed))
    assert all(p >= 20 for p in placed)
    if len(wanted) * 14 <= 260:
        assert all(p <= 280 + 1e-9 for p in placed)


@given(st.text())
def test_any_text_makes_a_well_formed_file(text):
    canvas = Canvas(100, 50, text)
    canvas.text(0, 0, text, room=40)
    canvas.dot(1, 2, "m", text)
    root = ET.fromstring(canvas.standalone().encode("utf-8", "replace"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_long_text_is_cut_and_kept_as_tooltip():
    canvas = Canvas(100, 50, "")
    canvas.text(0, 0, "a very long name of a client", room=60)
    assert "<title>a very long name of a client</title>" in canvas.inline()
    assert "a very l…" in canvas.inline()

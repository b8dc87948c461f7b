"""Tests of numbers and JSON in answers."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.evaluation.structured_metrics import find_number, json_valid, numeric_match


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It is 1,234.5.", "1234.5"),
        ("first 3, then -7", "-7"),
        ("$1,000,000", "1000000"),
        ("1'000 or 2\u00a0000", "2000"),
        ("3,5 km", "3.5"),
        ("pages 10-15", "15"),
        ("\u22124", "-4"),
        ("2e-3", "0.002"),
        (".5", "0.5"),
        ("٣", "3"),
    ],
)
def test_last_number_is_found(text, number):
    assert find_number(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "none", "😀", "-", ",", "²"])
def test_text_without_a_number_has_none(text):
    assert find_number(text) is None
    assert numeric_match(text, "1") == 0


@given(st.decimals(-(10**12), 10**12, allow_nan=False, places=4))
def test_separators_do_not_change_a_number(number):
    for text in (f"{number}", f"{number:,}", f"so {number:f}."):
        assert numeric_match(text, str(number)) == 1


@given(st.text())
def test_any_text_has_a_score(text):
    assert numeric_match(text, "1") in (0, 1)
    assert json_valid(text, "") in (0, 1)


@settings(max_examples=30, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda items: st.lists(items) | st.dictionaries(st.text(), items),
    )
)
def test_json_is_valid(value):
    assert json_valid(json.dumps(value), "") == 1
    assert json_valid(json.dumps(value, ensure_ascii=False)[:-1] + "…", "") == 0


@pytest.mark.parametrize("text", ["", "NaN", "[Infinity]", "{'a': 1}", "[1,]", "```json\n{}\n```"])
def test_other_text_is_not_valid_json(text):
    assert json_valid(text, "") == 0


def test_long_json_is_judged():
    assert json_valid("1" * 10_000, "") == 1
    assert json_valid("[" * 100_000, "") == 0

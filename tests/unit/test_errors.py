"""Tests of error messages."""

from blossomtune.errors import UserError, abbreviate, find_closest_match


def test_hint_is_on_a_line_of_its_own():
    assert str(UserError("wrong")) == "wrong"
    assert str(UserError("wrong", "fix it")) == "wrong\n  hint: fix it"


def test_long_values_are_abbreviated():
    assert abbreviate("x" * 10) == repr("x" * 10)
    assert abbreviate("x" * 100, 20) == "'" + "x" * 16 + "..."


def test_closest_match_is_similar_or_none():
    assert find_closest_match("rouds", ["round", "rounds"]) == "rounds"
    assert find_closest_match("rouds", ["seed"]) is None

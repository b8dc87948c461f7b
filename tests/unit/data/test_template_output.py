"""Tests of checks on the values that a template writes."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest

from blossomtune.data.template_output import describe_output
from blossomtune.data.templates import Template
from blossomtune.errors import UserError

TURNS = [{"role": "user", "content": "hi"}]
ROW = {
    "turns": TURNS,
    "words": ["a", "b"],
    "nested": {"a": [1], "b c": None},
    "none": None,
    "data": b"x",
    "text": "<x> & 'y' ü",
}


@pytest.mark.parametrize(
    "value",
    [
        *("text", "", 7, -0.5, True, False, Decimal("1.50"), date(2024, 2, 29)),
        *(datetime(2024, 2, 29, 12, 30, tzinfo=UTC), time(1, 2), timedelta(days=1)),
    ],
)
def test_text_numbers_booleans_dates_and_times_are_written_as_python_does(value):
    for source in ("{{ x }}", "{{ x ~ '' }}", "{{ [x] | join }}", "{{ x | replace('~', '') }}"):
        assert Template("text", source).render({"x": value}, "row 3") == str(value)


@pytest.mark.parametrize(
    "source",
    [
        *("{{ turns }}", "{{ nested }}", "{{ nested.a }}", "{{ data }}", "{{ none }}"),
        *("{{ [] }}", "{{ {} }}", "{{ (1, 2) }}", "{{ range(3) }}", "{{ range }}"),
        *("{{ words | map('upper') }}", "{{ text.upper }}", "{{ words[:1] }}"),
        *(
            "{{ turns ~ '' }}",
            "{{ 'q: ' ~ none }}",
            "{{ turns | join }}",
            "{{ [none] | join(' ') }}",
        ),
        *("{{ turns | trim }}", "{{ none | upper }}", "{{ words | replace('a', 'b') }}"),
        *("{{ nested | truncate(9) }}", "{{ words | indent }}", "{{ none | wordwrap(4) }}"),
        "{% set x = words ~ '.' %}{{ x }}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(words) }}",
        "{% if words | lower %}{% endif %}",
    ],
)
def test_other_values_are_not_written(source):
    with pytest.raises(UserError, match=r"it writes .*not text|a value that it writes is null"):
        Template("text", source).render(ROW, "row 3")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ words | join(', ') }}", "a, b"),
        ("{{ turns | join(', ', attribute='content') }}", "hi"),
        ("{{ words | map('upper') | join }}", "AB"),
        ("{{ turns | tojson }}", '[{"role": "user", "content": "hi"}]'),
        ("{{ text | tojson }}", "\"<x> & 'y' ü\""),
        ("{{ nested | tojson(indent=1) }}", '{\n "a": [\n  1\n ],\n "b c": null\n}'),
        ("{{ words | length }}{{ words[0] }}{{ none or '' }}", "2a"),
        ("{% for t in turns %}{{ t.role }}: {{ t.content }}{% endfor %}", "user: hi"),
        ("{{ words | list | string }}", "['a', 'b']"),
    ],
)
def test_parts_of_lists_and_mappings_are_written(source, text):
    assert Template("text", source).render(ROW, "row 3") == text


@pytest.mark.parametrize(
    ("value", "reason", "hint"),
    [
        (None, "a value that it writes is null", "write {{ column or '' }}"),
        (ROW["words"], "it writes a list (column 'words'), not text", "{{ words | join(', ') }}"),
        (
            TURNS,
            "it writes a list (column 'turns'), not text",
            "{% for y in turns %}{{ y.role }}{% endfor %}",
        ),
        (ROW["nested"], "it writes a mapping (column 'nested'), not text", "{{ nested.a }}"),
        ({"b c": 1}, "it writes a mapping, not text", '{{ x["b c"] }}'),
        (ROW, "it writes a mapping, not text", "{{ row.turns }}"),
        (iter(()), "it writes a value of type tuple_iterator, not text", "join(', ')"),
    ],
)
def test_description_names_the_column_and_a_part(value, reason, hint):
    described = describe_output(value, ROW)
    assert described[0] == reason
    assert hint in described[1]


@pytest.mark.parametrize("value", [b"x", print])
def test_no_part_is_proposed_where_there_is_none(value):
    assert describe_output(value, {}) == (
        f"it writes a value of type {type(value).__name__}, not text",
        None,
    )

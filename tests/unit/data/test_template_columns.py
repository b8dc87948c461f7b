"""Tests of finding the columns that a template reads."""

import pytest

from blossomtune.data.template_columns import find_read_columns, find_unusual_names

AVAILABLE = ["a", "b", "a b", "items"]


@pytest.mark.parametrize(
    ("source", "columns"),
    [
        ("plain", set()),
        ("{{ a }}{% if b %}{{ c }}{% endif %}", {"a", "b", "c"}),
        ("{% set x = a %}{{ x }}{% for y in b %}{{ y }}{% endfor %}", {"a", "b"}),
        ("{{ range(a) | list }}", {"a"}),
        ('{{ row["a b"] }}{{ row.b }}', {"a b", "b"}),
        ("{{ row['x y'] }}", {"x y"}),
        ("{{ row['x' ~ ' y'] }}", {"x y"}),
        ('{{ row["items"] }}', {"items"}),
        ('{{ row["a b"]["c"][a] }}', {"a b", "a"}),
        ("{{ a.row }}{{ a['row'] }}", {"a"}),
        ("{% for row in a %}{{ row.z }}{{ row }}{% endfor %}", {"a"}),
    ],
)
def test_constant_names_are_found(source, columns):
    assert find_read_columns(source).select(AVAILABLE) == columns


@pytest.mark.parametrize(
    "source",
    [
        "{{ row[a] }}",
        "{{ row }}",
        "{{ row.items() }}",
        "{% set r = row %}{{ r.a }}",
        "{{ row | attr('a') }}",
        "{{ row[a ~ ' b'] }}",
        '{{ row["a"] }}{{ row[0] }}',
    ],
)
def test_other_uses_of_row_read_all_columns(source):
    assert find_read_columns(source).select(AVAILABLE) == set(AVAILABLE)


def test_column_with_the_name_of_a_function_of_jinja_is_read():
    assert find_read_columns("{{ range }}").select(["range", "a"]) == {"range"}


def test_unusual_names_are_those_that_a_template_cannot_write():
    names = ["text", "größe", "_x", "class", "2nd", "a b", "a.b", "", "row"]
    assert find_unusual_names(names) == ["2nd", "a b", "a.b", "", "row"]

"""Tests of finding the columns that a template uses as numbers."""

import pytest

from blossomtune.data.template_numbers import find_number_uses


@pytest.mark.parametrize(
    "source",
    [
        *("{{ 'a' if x == 1 else 'b' }}", "{{ 'a' if 0 != x else 'b' }}", "{{ x in [1, 2] }}"),
        *("{{ x not in (-1,) }}", "{{ x == true }}", "{{ x > 0.5 }}", "{{ 0 < x < 3 }}"),
        *("{{ x * 2 }}", "{{ x | int }}", "{{ x | float > y }}", "{{ x is odd }}"),
        *("{% if x %}a{% endif %}", "{{ 'a' if x and y is none }}", "{{ not x }}"),
        "{% if y is none %}{% elif x or y is none %}{% endif %}",
        *('{{ row["x"] == 1 }}', "{% if row.x %}a{% endif %}"),
        "{% set z = x == 1 %}{{ z }}",
    ],
)
def test_uses_as_a_number_are_found(source):
    assert find_number_uses(source) == {"x"}


@pytest.mark.parametrize(
    "source",
    [
        *("{{ x }}", "{{ x or '-' }}", "{{ 'a' if x == 'b' else 'c' }}", "{{ x in ['a', 'b'] }}"),
        *("{{ x is none }}", "{{ x | length > 3 }}", "{{ x[0] }}", "{{ x[:3] == 'abc' }}"),
        *("{{ y.x == 1 }}", "{{ x ~ 1 }}", "{{ x | truncate(9) }}", "{{ row[x] == 1 }}"),
        "{{ 'a' if x is not none and x != '' else 'b' }}",
    ],
)
def test_other_uses_are_not(source):
    assert find_number_uses(source) == set()

"""Numbers are formatted for readers."""

import math

import pytest

from blossomtune.reporting import formatting


def plain(text):
    return text.replace(formatting.NARROW_SPACE, " ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.41, "0.410"),
        (1.912, "1.91"),
        (23.456, "23.5"),
        (1234.5, "1,234"),
        (0, "0"),
        (1.9e-5, "1.9 × 10⁻⁵"),
        (2e-6, "2 × 10⁻⁶"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_numbers_have_three_significant_digits(value, shown):
    assert formatting.format_number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(5e-4, "5e-4"), (2.75e-4, "2.75e-4"), (0.05, "0.05"), (16.0, "16"), (0.0, "0")],
)
def test_settings_have_their_shortest_form(value, shown):
    assert formatting.format_setting(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.84, "0.8 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (188, "3 min 08 s"),
        (11220, "3 h 07 min"),
    ],
)
def test_durations_have_units(seconds, shown):
    assert plain(formatting.format_duration(seconds)) == shown


def test_counts_and_sizes():
    assert formatting.format_amount(1, "client") == "one client"
    assert formatting.format_amount(4, "client") == "four clients"
    assert formatting.format_amount(1300, "row") == "1,300 rows"
    assert plain(formatting.format_bytes(9_801_224)) == "9.8 MB"
    assert plain(formatting.format_bytes(5_040)) == "5.0 kB"
    assert formatting.format_parameter_count(134_515_008) == "134.5 million"
    assert formatting.format_points(0.3) == "+30.0 points"
    assert formatting.format_points(-0.05) == "−5.0 points"


@pytest.mark.parametrize(
    ("value", "shown"), [(13.83, "13.9"), (4.204, "4.21"), (4.2, "4.20"), (0.05, "0.050"), (0, "0")]
)
def test_bounds_are_rounded_up(value, shown):
    assert formatting.format_upper_bound(value) == shown


def test_lists_ranges_and_signs():
    assert formatting.join_list(["a"]) == "a"
    assert formatting.join_list(["a", "b", "c"]) == "a, b and c"
    assert formatting.format_range(8, 8) == "8"
    assert formatting.format_range(4, 64) == "4 to 64"
    assert formatting.format_signed(0.12) == "+0.120"
    assert formatting.format_signed(-0.12) == "−0.120"

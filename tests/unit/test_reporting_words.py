"""Numbers and sentences as people read them."""

import math

import pytest

from blossomtune.artifacts.metrics import ConfidenceInterval
from blossomtune.reporting import formatting, summary


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
def test_number(value, shown):
    assert formatting.format_number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(5e-4, "5e-4"), (2.75e-4, "2.75e-4"), (0.05, "0.05"), (16.0, "16"), (0.0, "0")],
)
def test_settings_as_typed(value, shown):
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
def test_duration(seconds, shown):
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


def around(value, spread):
    return ConfidenceInterval(value=value, low=value - spread, high=value + spread)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (around(0.42, 0.05), around(0.72, 0.05), "rose from 42 % to 72 %"),
        (around(0.72, 0.05), around(0.42, 0.05), "fell from 72 % to 42 %"),
        (
            around(0.42, 0.05),
            around(0.45, 0.05),
            "rose from 42 % to 45 %, which may be chance",
        ),
        (around(0.42, 0.05), around(0.421, 0.05), "stayed at 42 %"),
    ],
)
def test_change(before, after, said):
    assert plain(summary.describe_change(before, after, formatting.format_percent)) == said


def test_a_difference_row_by_row_tells_more_than_two_intervals():
    before, after = around(0.42, 0.05), around(0.45, 0.05)
    clear, unclear = around(0.03, 0.01), around(0.03, 0.04)
    assert (
        plain(summary.describe_change(before, after, formatting.format_percent, clear))
        == "rose from 42 % to 45 %"
    )
    assert summary.describe_change(before, after, formatting.format_percent, unclear).endswith(
        ", which may be chance"
    )

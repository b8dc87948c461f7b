"""The metric that compares answers."""

import pytest

from blossomtune.reporting.metric_names import choose_metric, format_metric, get_metric_label


@pytest.mark.parametrize(
    ("available", "configured", "expected"),
    [
        ({"chrf", "rouge_l"}, ["chrf", "rouge_l"], "chrf"),
        ({"chrf", "rouge_l"}, ["exact_match"], "rouge_l"),
        ({"exact_match", "rouge_l"}, [], "rouge_l"),
        ({"b", "a"}, [], "a"),
        (set(), ["rouge_l"], None),
    ],
)
def test_configured_metrics_come_first(available, configured, expected):
    assert choose_metric(available, configured) == expected


def test_metrics_without_a_value_are_dashes():
    assert get_metric_label("rouge_l") == "ROUGE-L"
    assert format_metric(None) == "–"
    assert format_metric(0.256) == "26\u202f%"

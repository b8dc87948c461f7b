"""Summaries of results and data."""

import pytest
from sample_results import (
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)

from blossomtune.artifacts.metrics import ConfidenceInterval
from blossomtune.reporting import formatting, summary


def plain(text):
    return text.replace(formatting.NARROW_SPACE, " ")


def build_symmetric_interval(value, spread):
    return ConfidenceInterval(value=value, low=value - spread, high=value + spread)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            build_symmetric_interval(0.42, 0.05),
            build_symmetric_interval(0.72, 0.05),
            "rose from 42 % to 72 %",
        ),
        (
            build_symmetric_interval(0.72, 0.05),
            build_symmetric_interval(0.42, 0.05),
            "fell from 72 % to 42 %",
        ),
        (
            build_symmetric_interval(0.42, 0.05),
            build_symmetric_interval(0.45, 0.05),
            "rose from 42 % to 45 %, which may be chance",
        ),
        (
            build_symmetric_interval(0.42, 0.05),
            build_symmetric_interval(0.421, 0.05),
            "stayed at 42 %",
        ),
    ],
)
def test_overlapping_intervals_may_be_chance(before, after, expected):
    assert plain(summary.describe_change(before, after, formatting.format_percent)) == expected


def test_paired_difference_decides_whether_a_change_may_be_chance():
    before, after = build_symmetric_interval(0.42, 0.05), build_symmetric_interval(0.45, 0.05)
    clear, unclear = build_symmetric_interval(0.03, 0.01), build_symmetric_interval(0.03, 0.04)
    assert (
        plain(summary.describe_change(before, after, formatting.format_percent, clear))
        == "rose from 42 % to 45 %"
    )
    assert summary.describe_change(before, after, formatting.format_percent, unclear).endswith(
        ", which may be chance"
    )


TOKENIZED = "preprocessed/*/*/*/manifest.json"


def test_dropped_truncated_and_packed_rows_are_counted(results, raw):
    c = write_results(results, raw)
    assert "cut to" not in get_visible_text(render_report(c, results))

    def dataset(m):
        m["rows"] |= {"filtered": 1200, "duplicates": 0, "limited": 7}

    def tokenised(m):
        m["clients"][0] |= {"truncated": 5, "packed": 9}
        m["clients"][1]["dropped"]["unrenderable"] = 2

    update_manifest(results, "datasets/*/manifest.json", dataset)
    update_manifest(results, TOKENIZED, tokenised)
    text = get_visible_text(render_report(c, results))
    assert "23,703 rows read, 1,200 filtered out, 7 beyond the limit, 400 held out, 23,110" in text
    assert "duplicates removed" not in text
    assert (
        "Six rows left out for more than 256 tokens, two rows left out for not fitting, five rows "
        "cut to 256 tokens, the rest packed into nine sequences of up to 256 tokens." in text
    )


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (
            {"name": "text", "columns": {"text": "body"}, "templates": {}},
            "plain text in “body”, found out",
        ),
        (
            {"name": "messages", "columns": {"messages": "chat"}, "templates": {}},
            "the answers alone",
        ),
        ({"name": "alpaca", "columns": {}, "templates": {"prompt": "{{ a }}"}}, "question{{ a }}"),
    ],
)
def test_every_row_format_is_explained(results, raw, shape, expected):
    c = write_results(results, raw)
    update_manifest(
        results, TOKENIZED, lambda m: m.update(shape={"templates": {}, "detected": True} | shape)
    )
    text = get_visible_text(render_report(c, results))
    assert expected in text
    assert ("chat(messages" in text) == (shape["name"] != "text")

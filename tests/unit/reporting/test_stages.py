"""Time and memory of the stages."""

import shutil

from sample_results import (
    render_report,
    write_results,
)


def test_missing_benchmarks_are_mentioned(results, raw):
    c = write_results(results, raw)
    shutil.rmtree(results / "benchmarks")
    assert "No times were measured" in render_report(c, results)

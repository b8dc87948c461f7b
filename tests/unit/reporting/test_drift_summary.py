"""Sentences on the drift."""

import pytest
from sample_results import (
    build_configuration,
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)

HISTORY = "experiments/*/history.json"


def set_drift(average, best):
    """Sets every layer's drift of all rounds."""

    def update(history):
        for record in history["rounds"][1:]:
            for layer in record["drift"].values():
                layer |= {"average": average, "best": best}

    return update


@pytest.mark.parametrize(
    ("average", "best", "federation", "expected"),
    [
        (0.02, 0.01, {}, "misses 2.0 % of the clients’ mean update"),
        (0.02, 0.01, {}, "an exact method (flexlora, flora, fedex) would hardly pay."),
        (0.4, 0.05, {}, "may pay: flexlora would miss 5.0 %, flora and fedex nothing."),
        (0.4, 0.3, {}, "Most of that is the rank: flexlora, which keeps it, would gain little."),
        (0.4, 0.05, {"strategy": "fedadam"}, "with fedadam, ffa and rolora are the exact ones."),
        (0.0, 0.0, {"aggregation": "ffa"}, "plain averaging of the factors misses nothing"),
        (0.0, 0.0, {"aggregation": "ffa"}, "so that plain averaging is exact."),
        (0.4, 0.05, {"aggregation": "fedex"}, "This run used fedex, which misses nothing."),
        (None, 0.05, {"aggregation": "flexlora"}, "This run used flexlora, which misses 5.0 %."),
        (None, 0.01, {"aggregation": "hetlora"}, "flexlora would keep nearly all of it."),
    ],
)
def test_exact_methods_are_recommended_by_drift(results, average, best, federation, expected):
    lora = {"r": 8, "ranks": [4, 8, 8, 8]} if average is None else {}
    c = write_results(results, build_configuration(lora=lora, federation=federation))
    update_manifest(results, HISTORY, set_drift(average, best))
    assert expected in get_visible_text(render_report(c, results))

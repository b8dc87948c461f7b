"""Missing and malformed results are reported."""

import json
import re

import pytest
from sample_results import (
    build_history,
    build_metrics,
    render_report,
    write_results,
)

from blossomtune.errors import UserError


@pytest.mark.parametrize(
    "name",
    [
        "experiments/quickstart/history.json",
        "experiments/quickstart/metrics.json",
        "experiments/quickstart/merged/merge.json",
        "experiments/quickstart/adapter/adapter_model.safetensors",
        "models/smollm2-135m-instruct/provenance.json",
        "datasets/vader-sentiment/manifest.json",
        "partitions/by-domain/manifest.json",
        "preprocessed/by-domain/sentiment/smollm2-135m-instruct/manifest.json",
    ],
)
def test_missing_file_is_named(results, raw, name):
    c = write_results(results, raw)
    (results / name).unlink()
    with pytest.raises(UserError, match=re.escape(name) + ".*not there"):
        render_report(c, results)
    assert not (results / "report").exists()


HISTORY_WITHOUT_ROUNDS = {key: value for key, value in build_history().items() if key != "rounds"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("experiments/quickstart/metrics.json", '{"base": ', "not a JSON file"),
        ("experiments/quickstart/metrics.json", "{}", "base: Field required"),
        (
            "experiments/quickstart/history.json",
            json.dumps(HISTORY_WITHOUT_ROUNDS),
            "rounds: Field",
        ),
        (
            "experiments/quickstart/history.json",
            json.dumps(HISTORY_WITHOUT_ROUNDS | {"rounds": []}),
            "rounds: List should have at least 1",
        ),
        (
            "experiments/quickstart/history.json",
            json.dumps(build_history() | {"ranks": [8]}),
            "1 ranks for 4 clients",
        ),
        (
            "experiments/quickstart/metrics.json",
            json.dumps(build_metrics({"centralised": True, "local": False}) | {"difference": {}}),
            "difference has no base",
        ),
        ("experiments/quickstart/adapter/adapter_config.json", "{}", "r: Field required"),
        ("experiments/quickstart/history.json", "[]", r"\(top level\)"),
        ("benchmarks/federate/quickstart.tsv", "", "not a benchmark file"),
        ("benchmarks/federate/quickstart.tsv", "s\nquick\n", "not a benchmark file"),
    ],
)
def test_malformed_file_is_named_with_the_key(results, raw, name, text, message):
    c = write_results(results, raw)
    (results / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(name) + ".*" + message):
        render_report(c, results)

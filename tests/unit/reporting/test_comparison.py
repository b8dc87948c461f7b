"""Comparison of the experiments of a run."""

import re

from sample_results import (
    build_configuration,
    build_interval,
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)

BOTH = {"centralised": True, "local": True}


def build_experiments(names, **more):
    raw = build_configuration(**more)
    first = raw["experiments"].pop("quickstart")
    raw["experiments"] = {name: first | block for name, block in names.items()}
    raw["run"] = list(names)
    return raw


def test_shared_models_appear_once(results):
    raw = build_experiments(
        {
            "plain": {"baselines": BOTH},
            "eight": {"federation": {"communication": {"precision": "int8"}}},
            "mixed": {
                "lora": {"r": 16, "ranks": [4, 8, 8, 16]},
                "federation": {"aggregation": "flexlora"},
            },
        }
    )
    html = render_report(write_results(results, raw), results)
    table = re.search(r'(?s)<table class="stacked dense">(.*?)</table>', html).group(1)
    rows = [get_visible_text(row) for row in re.findall(r"(?s)<tr.*?</tr>", table)]
    assert rows[0] == "experimentaccuracyaggregationmessagesrankmovedtime"
    assert [re.match(r"local only|[a-z]+", row).group() for row in rows[1:]] == [
        "base",
        "local only",
        "plain",
        "eight",
        "mixed",
        "centralised",
    ]
    assert rows[5] == "mixed70.0 % (65.5 % to 74.5 %)flexlorafloat324 to 16264.5 MB3 min 08 s"
    text = get_visible_text(html)
    assert "All have four clients, three rounds, strategy fedavg and 120 optimizer steps" in text
    assert "lie between 68 % and 72 %; base 42 %, local only 64 % and centralised 73 %." in text
    assert '<a href="#experiment-3">mixed</a>' in html
    assert "Everything about" not in text


def test_details_of_many_experiments_are_folded(results):
    raw = build_experiments({f"e{i}": {} for i in range(5)})
    html = render_report(write_results(results, raw), results)
    assert html.count("<summary>Everything about e") == 5
    assert html.count('id="experiment-') == 5


def test_different_base_models_have_different_labels(results):
    raw = build_experiments({"one": {}, "two": {}})
    c = write_results(results, raw)
    update_manifest(
        results,
        "experiments/two/metrics.json",
        lambda m: m["base"].update(loss=build_interval(2.5, 0.1)),
    )
    html = render_report(c, results)
    assert "base (one)" in html
    assert "base (two)" in html


def test_best_experiment_is_named_in_the_header(results, raw):
    raw["experiments"]["second"] = raw["experiments"]["quickstart"] | {"lora": {"r": 4}}
    raw["run"] = ["quickstart", "second"]
    html = render_report(write_results(results, raw), results)
    text = get_visible_text(html)
    assert "Two experiments were run; quickstart came out best: accuracy on 400" in text
    assert '<a href="#experiment-2">second</a>' in html
    assert '<section id="experiment-2">' in html

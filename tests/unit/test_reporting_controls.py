"""The report on models beside the federated one, client by client and experiment by experiment."""

import re

import pytest
from sample_results import (
    build_configuration,
    build_interval,
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)

METRICS = "experiments/quickstart/metrics.json"
BOTH = {"centralised": True, "local": True}


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def test_the_answer_says_how_far_from_pooled_data_and_from_being_alone(results):
    html = render_report(write_results(results, build_configuration(baselines=BOTH)), results)
    header = get_visible_text(re.search(r"(?s)<header>(.*?)</header>", html).group(1))
    assert (
        "Against one model trained on all rows pooled, there is no difference that these 400 "
        "examples can show (95 % interval −3.3 to +1.1). Against clients that train alone, it is "
        "8.0 points ahead (95 % interval +5.0 to +11.0)." in header
    )
    text = get_visible_text(html)
    assert "the numbers are means over their four models" in text
    assert "took as many optimizer steps as the federation." in text
    columns = re.findall(r'<th scope="col">(base|local only|federated|centralised)</th>', html)
    assert columns[:4] == ["base", "local only", "federated", "centralised"]
    assert "local only, tweets: 71 % (62 % to 80 %)" in text
    assert "centralised, all: 73 %" in text


def test_a_clear_distance_from_pooled_data_is_said(results):
    c = write_results(results, build_configuration(baselines={"centralised": True}))

    def behind(found):
        found["difference"]["centralised"]["accuracy"] = build_interval(-0.05, 0.02)

    update_manifest(results, METRICS, behind)
    text = get_visible_text(render_report(c, results))
    assert "it is 5.0 points behind (95 % interval −7.0 to −3.0)." in text
    assert "train alone" not in text


def test_without_choices_the_loss_is_compared(results):
    c = write_results(results, build_configuration(baselines=BOTH))

    def no_choices(found):
        for each in found.pop("difference").values():
            found.setdefault("kept", []).append(each | {"accuracy": None})
        names = [name for name in found if isinstance(found[name], dict)]
        others = [name for name in names if name != "federated"]
        found["difference"] = dict(zip(others, found.pop("kept"), strict=True))
        for name in names:
            m = found[name]
            m |= {"accuracy": None, "macro_f1": None, "exact_match": None, "confusion": None}
            for part in [*(m["by"] or {}).values(), *m.get("models", {}).values()]:
                part["accuracy"] = None
            for part in m["clients"].values():
                part["accuracy"] = None
            m["fairness"] |= {"measure": "loss"}

    update_manifest(results, METRICS, no_choices)
    text = get_visible_text(render_report(c, results)).split("The whole configuration")[0]
    assert "its loss is 0.160 nats a token lower (95 % interval −0.210 to −0.110)." in text
    assert "ccuracy" not in text


def test_stopped_early_the_controls_had_more_steps(results):
    c = write_results(results, build_configuration(baselines={"centralised": True}))
    update_manifest(results, "experiments/*/history.json", lambda h: h.update(stop_reason="budget"))
    text = get_visible_text(render_report(c, results))
    assert "as the federation would have in all its rounds; it stopped before the last." in text


def test_clients_are_shown_by_how_they_fare(results):
    html = render_report(write_results(results, build_configuration(baselines=BOTH)), results)
    text = get_visible_text(html)
    assert "The federated model serves nytEditorials worst (accuracy 60 %) and tweets best" in text
    assert (
        "base 6.8 points, local only 9.5 points, federated 6.8 points and centralised 5.4" in text
    )
    assert "All clients have a higher accuracy with the federated model than with the one" in text
    assert "<title>federated, nytEditorials: 60\u202f%</title>" in html
    rows = text[text.index("Every client in numbers") :]
    order = [rows.index(n) for n in ("nytEditorials28", "movieReviews229", "tweets61")]
    assert order == sorted(order)
    assert "worst client30.0 % nytEditorials" in rows


def test_where_clients_were_not_measured_nothing_is_said_of_them(results):
    c = write_results(results, build_configuration())

    def unknown(found):
        for name in ("base", "federated"):
            found[name] |= {"clients": None, "fairness": None}

    update_manifest(results, METRICS, unknown)
    assert "Client by client</h2>" not in render_report(c, results)


def several(names, **more):
    raw = build_configuration(**more)
    first = raw["experiments"].pop("quickstart")
    raw["experiments"] = {name: first | block for name, block in names.items()}
    raw["run"] = list(names)
    return raw


def test_experiments_are_compared_with_what_they_share_once(results):
    raw = several(
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


def test_many_experiments_are_folded(results):
    raw = several({f"e{i}": {} for i in range(5)})
    html = render_report(write_results(results, raw), results)
    assert html.count("<summary>Everything about e") == 5
    assert html.count('id="experiment-') == 5


def test_bases_that_differ_are_told_apart(results):
    raw = several({"one": {}, "two": {}})
    c = write_results(results, raw)
    update_manifest(
        results,
        "experiments/two/metrics.json",
        lambda m: m["base"].update(loss=build_interval(2.5, 0.1)),
    )
    html = render_report(c, results)
    assert "base (one)" in html
    assert "base (two)" in html

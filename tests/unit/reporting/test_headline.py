"""The head of the page: is it better, at what, by how much, show me."""

import dataclasses
import json
import re

import pytest
from artifact_samples import answer_record
from sample_results import (
    build_interval,
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)

from blossomtune import files
from blossomtune.artifacts.answers import Answer, write_answers
from blossomtune.config import stage_inputs
from blossomtune.reporting import headline
from blossomtune.reporting.load import load_experiment


def remove_choices(metrics, score):
    """Turn metrics.json into that of free text; ROUGE-L of the base is 0.2."""
    for name, value in (("base", 0.2), ("federated", score)):
        model = metrics[name]
        for group in (model, *model["by"].values(), *model["clients"].values()):
            group["accuracy"] = None
        model |= {"macro_f1": None, "confusion": None}
        model["fairness"]["measure"] = "loss"
        interval = build_interval(value, 0.02, rows=48)
        model["answer_metrics"] = {"chrf": interval, "rouge_l": interval}
    change = {"rouge_l": build_interval(score - 0.2, 0.03, rows=48)}
    metrics["difference"]["base"] |= {"accuracy": None, "answer_metrics": change}


@pytest.fixture
def load_free_text(results, raw):
    """Return a function that loads an experiment with free text: a score and a change of JSON."""
    configuration = stage_inputs.report(write_results(results, raw))["configuration"]
    path = results / "experiments/quickstart/metrics.json"
    original = files.read_json(path)

    def load(score=0.3, update=lambda metrics: None):
        metrics = json.loads(json.dumps(original))
        remove_choices(metrics, score)
        update(metrics)
        files.write_json(path, metrics)
        return load_experiment(results, configuration, "quickstart", "0" * 64)

    return load


def test_accuracy_is_the_main_metric_with_choices(experiment):
    change = headline.get_main_change(experiment)
    assert (change.label, change.is_share, change.rows) == ("accuracy", True, 400)
    assert change.format_values() == "42\u202f% → 72\u202f%"
    assert change.format_difference(-0.012) == "−1.2"


def test_answers_are_compared_by_the_first_configured_metric(load_free_text):
    e = load_free_text()
    change = headline.get_main_change(e)
    assert (change.label, change.rows) == ("ROUGE-L", 48)
    assert change.difference.value == pytest.approx(0.1)
    evaluation = e.config["evaluation"] | {"metrics": ["chrf", "rouge_l"]}
    e = dataclasses.replace(e, config=e.config | {"evaluation": evaluation})
    assert headline.get_main_change(e).label == "chrF"
    assert headline.get_main_change(e).difference is None
    assert {label for label, _, _ in headline.collect_answer_metrics(e)} == {"ROUGE-L", "chrF"}


def test_loss_is_the_main_metric_without_answers(load_free_text):
    def remove_answers(metrics):
        for name in ("base", "federated"):
            metrics[name]["answer_metrics"] = None

    change = headline.get_main_change(load_free_text(update=remove_answers))
    assert (change.label, change.is_share) == ("loss", False)
    assert change.format_difference(-1.5) == "−1.50"


@pytest.mark.parametrize(("scores", "best"), [((0.3, 0.4), 1), ((0.4, 0.3), 0)])
def test_best_experiment_has_the_best_main_metric(load_free_text, experiment, scores, best):
    experiments = [load_free_text(score) for score in scores]
    assert headline.find_best(experiments) is experiments[best]
    other = dataclasses.replace(experiments[0], dataset_name="other")
    assert headline.find_best([other, experiments[1]]) is None
    assert headline.find_best([experiment, experiments[1]]) is None  # accuracy and ROUGE-L


def test_groups_with_the_largest_and_smallest_gain_are_named(load_free_text):
    def worsen(metrics):
        groups = metrics["federated"]["by"]
        groups["tweets"]["loss"]["value"], groups["movieReviews"]["loss"]["value"] = 2.86, 0.2

    assert headline.describe_groups(load_free_text(update=worsen)) == (
        "By domain, the gain is largest at “movieReviews” (loss 1.93 to 0.200), and there is a "
        "loss at “tweets” (loss 1.86 to 2.86)."
    )


def test_page_opens_with_the_result_of_free_text(results, raw):
    raw["experiments"]["second"] = raw["experiments"]["quickstart"]
    raw["run"] = ["quickstart", "second"]
    c = write_results(results, raw)
    answers = {
        name: Answer(text=f"It says {name}.", scores={"rouge_l": score})
        for name, score in (("base", 0.25), ("federated", 0.75))
    }
    for name, score in (("quickstart", 0.3), ("second", 0.4)):
        folder = f"experiments/{name}"
        update_manifest(results, f"{folder}/metrics.json", lambda m, s=score: remove_choices(m, s))
        write_answers(results / folder / "answers.jsonl", [answer_record(answers=answers)])
    html = render_report(c, results)
    head = get_visible_text(re.search(r"(?s)<header>(.*)</header>", html).group(1))
    assert (
        "Two experiments were run; second came out best: ROUGE-L of 48 written answers rose from "
        "20 % to 40 %." in head
    )
    assert "Of one written answer, one is better than the base’s by ROUGE-L" in head
    assert "second20 % → 40 %+20.0 (+17.0 to +23.0)1.91 → 0.430" in head
    assert "A typical answer ROUGE-L 25 % → 75 %, the median change; more of them" in head
    assert "before (base)It says base." in head
    assert 'href="#experiment-2-answers"' in html
    assert 'id="experiment-2-answers"' in html

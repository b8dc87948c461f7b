"""The head of the page: is it better, at what, by how much, show me."""

import dataclasses
import re

import pytest
from artifact_samples import answer_record
from sample_results import build_interval, get_visible_text, render_report, write_results

from blossomtune.artifacts.answers import Answer, write_answers
from blossomtune.artifacts.metrics import PairedDifference, SampledInterval
from blossomtune.config import stage_inputs
from blossomtune.reporting import headline
from blossomtune.reporting.load import load_experiment


def remove_choices(e, rouge_l, difference):
    """Return the results of an experiment with free text, with ROUGE-L of base and federated."""
    values = dict(zip(("base", "federated"), rouge_l, strict=True))
    models = {}
    for name, model in e.metrics.items():
        scores = {"rouge_l": SampledInterval(**build_interval(values[name], 0.02, rows=48))}
        scores["chrf"] = scores["rouge_l"]
        changes = {"accuracy": None, "macro_f1": None, "confusion": None, "answer_metrics": scores}
        groups = {n: g.model_copy(update={"accuracy": None}) for n, g in model.by.items()}
        models[name] = model.model_copy(update=changes | {"by": groups})
    change = SampledInterval(**build_interval(difference, 0.03, rows=48))
    paired = PairedDifference(
        accuracy=None, loss=e.differences["base"].loss, answer_metrics={"rouge_l": change}
    )
    return dataclasses.replace(e, metrics=models, differences={"base": paired})


def test_accuracy_is_the_main_metric_with_choices(experiment):
    change = headline.get_main_change(experiment)
    assert (change.label, change.is_share, change.rows) == ("accuracy", True, 400)
    assert change.format_values() == "42\u202f% → 72\u202f%"
    assert change.format_difference(-0.012) == "−1.2"


def test_answers_are_compared_by_the_first_configured_metric(experiment):
    e = remove_choices(experiment, (0.2, 0.3), 0.1)
    change = headline.get_main_change(e)
    assert (change.label, change.difference.value, change.rows) == ("ROUGE-L", 0.1, 48)
    evaluation = e.config["evaluation"] | {"metrics": ["chrf", "rouge_l"]}
    e = dataclasses.replace(e, config=e.config | {"evaluation": evaluation})
    assert headline.get_main_change(e).label == "chrF"
    assert headline.get_main_change(e).difference is None
    assert [label for label, _, _ in headline.collect_answer_metrics(e)] == ["ROUGE-L", "chrF"]


def test_loss_is_the_main_metric_without_answers(experiment):
    e = remove_choices(experiment, (0.2, 0.3), 0.1)
    models = {n: m.model_copy(update={"answer_metrics": None}) for n, m in e.metrics.items()}
    change = headline.get_main_change(dataclasses.replace(e, metrics=models))
    assert (change.label, change.is_share) == ("loss", False)
    assert change.format_difference(-1.5) == "−1.50"


@pytest.mark.parametrize(("scores", "best"), [((0.3, 0.4), 1), ((0.4, 0.3), 0)])
def test_best_experiment_has_the_best_main_metric(experiment, scores, best):
    experiments = [remove_choices(experiment, (0.2, score), 0.1) for score in scores]
    assert headline.find_best(experiments) is experiments[best]
    other = dataclasses.replace(experiments[0], dataset_name="other")
    assert headline.find_best([other, experiments[1]]) is None
    assert headline.find_best([experiment, experiments[1]]) is None  # accuracy and ROUGE-L


def test_groups_with_the_largest_and_smallest_gain_are_named(experiment):
    text = headline.describe_groups(remove_choices(experiment, (0.2, 0.3), 0.1))
    assert text.startswith("By domain, the gain is largest at “")
    before, after = experiment.base.by, experiment.federated.by
    worse = {n: g.model_copy(update={"loss": before[n].loss}) for n, g in after.items()}
    loss = before["tweets"].loss
    worse["tweets"] = after["tweets"].model_copy(
        update={"loss": loss.model_copy(update={"value": loss.value + 1})}
    )
    models = remove_choices(experiment, (0.2, 0.3), 0.1).metrics
    models["federated"] = models["federated"].model_copy(update={"by": worse})
    e = dataclasses.replace(experiment, metrics=models)
    assert "and there is a loss at “tweets” (loss 1.86 to 2.86)." in headline.describe_groups(e)


def test_page_opens_with_the_result_of_free_text(results, raw, monkeypatch):
    raw["experiments"]["second"] = raw["experiments"]["quickstart"]
    raw["run"] = ["quickstart", "second"]
    c = write_results(results, raw)
    answers = {
        name: Answer(text=f"It says {name}.", scores={"rouge_l": score})
        for name, score in (("base", 0.25), ("federated", 0.75))
    }
    for path in results.glob("experiments/*/answers.jsonl"):
        write_answers(path, [answer_record(answers=answers)])
    configuration = stage_inputs.report(c)["configuration"]
    loaded = {
        name: remove_choices(
            load_experiment(results, configuration, name, "0" * 64), (0.2, score), score - 0.2
        )
        for name, score in (("quickstart", 0.3), ("second", 0.4))
    }
    monkeypatch.setattr(
        "blossomtune.reporting.load.load_experiment", lambda _, __, name, ___: loaded[name]
    )
    html = render_report(c, results)
    head = get_visible_text(re.search(r"(?s)<header>(.*)</header>", html).group(1))
    assert (
        "Two experiments were run; second came out best: ROUGE-L of 48 written answers rose from "
        "20 % to 40 %." in head
    )
    assert "Of one written answer, one are better than the base’s by ROUGE-L" in head
    assert "second20 % → 40 %+20.0 (+17.0 to +23.0)1.91 → 0.410" in head
    assert "A typical answer ROUGE-L 25 % → 75 %, the median change; more of them" in head
    assert "before (base)It says base." in head
    assert 'href="#experiment-2-answers"' in html
    assert 'id="experiment-2-answers"' in html

"""Answers side by side."""

import dataclasses
import re

import pytest
from artifact_samples import answer_record
from hypothesis import given
from hypothesis import strategies as st
from sample_results import build_configuration, get_visible_text, render_report, write_results

from blossomtune.artifacts.answers import Answer, write_answers
from blossomtune.reporting import answers
from blossomtune.reporting.answers import ComparedAnswers

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x07"&'


def build_record(row, base, federated, **more):
    """Return a row whose answers have these scores."""
    values = {"base": base, "federated": federated} | more
    models = {n: Answer(text=f"{n} {row}", scores={"rouge_l": v}) for n, v in values.items()}
    return answer_record(row, prompt=f"prompt {row}", answers=models)


def build_compared(changes):
    records = [build_record(row, 0.5, 0.5 + change) for row, change in enumerate(changes)]
    return [
        ComparedAnswers(record, "rouge_l", change)
        for record, change in zip(records, changes, strict=True)
    ]


def test_rows_are_sorted_by_the_change_and_their_number(experiment):
    changes = [0.2, -0.3, 0.0, 0.2, -0.3]
    records = [build_record(row, 0.5, 0.5 + c) for row, c in enumerate(changes)]
    for order in (records, records[::-1]):
        compared = answers.compare_answers(dataclasses.replace(experiment, answers=order))
        assert [c.record.row for c in compared] == [1, 4, 2, 0, 3]
        assert [c.outcome for c in compared] == ["worse", "worse", "same", "better", "better"]
    assert answers.describe_outcomes(compared) == (
        "of five written answers, two are better than the base’s by ROUGE-L, two worse and one "
        "the same"
    )


def test_answers_without_scores_are_the_same(experiment):
    models = {name: Answer(text=name, scores={}) for name in ("base", "federated")}
    e = dataclasses.replace(experiment, answers=[answer_record(answers=models)])
    [compared] = answers.compare_answers(e)
    assert (compared.metric, compared.outcome) == (None, "same")
    assert answers.describe_outcomes([compared]) == ""


@given(st.lists(st.integers(-50, 50).map(lambda n: n / 100), max_size=90))
def test_selection_has_the_worst_and_the_best(changes):
    compared = build_compared(sorted(changes))
    shown = answers.select_rows(compared)
    assert len(shown) == min(20, len(compared))
    assert shown == [c for c in reversed(compared) if c in shown]
    assert shown[:5] == compared[::-1][:5]
    assert shown[-5:] == compared[:5][::-1]


def test_typical_answer_has_the_median_change():
    assert answers.select_typical(build_compared([-0.4, -0.1, 0.3])).change == -0.1
    assert answers.select_typical([]) is None


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with hostile answers of a model per client, one of a megabyte."""
    results = tmp_path_factory.mktemp("hostile")
    c = write_results(results, build_configuration(baselines={"local": True}))
    models = {n: Answer(text=HOSTILE, scores={"exact_match": 0}) for n in ("federated", "local_1")}
    models["base"] = Answer(text="long " * 200_000, scores={"exact_match": 1})
    records = [
        answer_record(i, prompt=f"{HOSTILE} {i}", references=[HOSTILE] * 1000, answers=models)
        for i in range(30)
    ]
    write_answers(results / "experiments/quickstart/answers.jsonl", records)
    return render_report(c, results)


def test_hostile_answers_stay_short_texts(page):
    assert len(page) < 1_000_000
    assert page.count("<script>") == page.count("</script>") == 1  # that of the filter
    assert "<img" not in page
    assert "\u202e" not in page
    assert "\x07" not in page
    text = get_visible_text(page)
    assert '</script><script>alert(1)</script><img src=x onerror=alert(1)>U+202EU+0007"&' in text
    assert "998,800 more characters" in text
    assert "movieReviews alone" in text
    assert text.count("And 997 further references.") == 20


def test_answers_can_be_read_without_the_script(page):
    shown = re.findall(r'<details data-outcome="(\w+)"( open)?>', page)
    assert shown == [("worse", " open"), *[("worse", "")] * 18, ("worse", " open")]
    assert '<form class="filter" hidden>' in page
    assert "Of 30 written answers, none are better than the base’s by exact match, 30 worse" in page

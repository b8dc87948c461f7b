"""Tests of the choice of metrics, references and parts of answers."""

import json
from typing import get_args

import numpy as np
import pytest

from blossomtune import work_limits
from blossomtune.artifacts.metrics import ANSWER_METRIC_LABELS
from blossomtune.config.evaluation import AnswerMetric
from blossomtune.errors import UserError
from blossomtune.evaluation.answer_metrics import TEXT_METRICS, TOOL_CALL_METRIC, AnswerScorer
from blossomtune.evaluation.rows import EvaluationRow

SETTINGS = {"choices": [], "metrics": None, "answer": None}
CALL = {"name": "f", "arguments": {"a": 1}}


def row(completion, *references, calls=""):
    return EvaluationRow("p", completion, (1, 2), 1, references=references, tool_calls=calls)


def score(rows, answers, **settings):
    scores = AnswerScorer(rows, SETTINGS | settings).score(range(len(rows)), answers)
    return {name: values.tolist() for name, values in scores.items()}


def test_configuration_labels_and_functions_have_the_same_metrics():
    names = {*TEXT_METRICS, TOOL_CALL_METRIC}
    assert set(get_args(AnswerMetric)) == names == set(ANSWER_METRIC_LABELS)


def test_metrics_fit_the_rows_by_default():
    call_row = row(json.dumps(CALL), calls=json.dumps([CALL]))
    free_text = ["exact_match", "token_f1", "rouge_l", "chrf"]
    for rows, choices, expected in (
        ([row("a")], [], free_text),
        ([row("a")], ["a", "b"], free_text[:1]),
        ([row("a"), call_row], [], [*free_text, TOOL_CALL_METRIC]),
    ):
        assert list(AnswerScorer(rows, SETTINGS | {"choices": choices}).metrics) == expected


def test_best_reference_counts():
    scores = score([row("four", "4", "the 4")], ["4"], metrics=["exact_match", "token_f1"])
    assert scores == {"exact_match": [1], "token_f1": [1]}


def test_last_match_of_the_expression_is_compared():
    rows = [row("#### 1 then #### 72"), row("#### 1,000")] * 2
    answers = ["so #### 3 no #### 72", "it is #### 1000.0", "72", "####"]
    scores = score(
        rows, answers, answer=r"#### (\-?[0-9.,]+)", metrics=["exact_match", "numeric_match"]
    )
    assert scores == {"exact_match": [1, 0, 0, 0], "numeric_match": [1, 1, 0, 0]}
    assert score([row("yes.")], ["no, yes!"], answer="yes|no", metrics=["exact_match"]) == {
        "exact_match": [1]
    }


def test_tool_calls_are_compared_in_rows_that_have_them():
    rows = [row("hello"), row(json.dumps(CALL), calls=json.dumps([CALL]))]
    scores = score(rows, ["hello", json.dumps(CALL)], metrics=[TOOL_CALL_METRIC])
    assert np.array_equal(scores[TOOL_CALL_METRIC], [np.nan, 1], equal_nan=True)


@pytest.mark.parametrize(
    ("right", "settings", "message"),
    [
        (row("72"), {"answer": "#### (.*)"}, "evaluation.answer: no match .* test row 0: '72'"),
        (row("7", "x"), {"metrics": ["numeric_match"]}, "needs a number .* test row 0 .* 'x'"),
        (row("x"), {"metrics": [TOOL_CALL_METRIC]}, "have no tool calls"),
        (
            row("f: a=1", calls=json.dumps([CALL])),
            {"metrics": [TOOL_CALL_METRIC]},
            "calls of test row 0 cannot be read .* 'f: a=1'",
        ),
    ],
)
def test_metric_that_does_not_fit_is_reported(right, settings, message):
    with pytest.raises(UserError, match=message):
        AnswerScorer([right], SETTINGS | settings)


def test_expression_that_does_not_end_is_reported_with_the_row(monkeypatch):
    monkeypatch.setattr(work_limits, "CPU_SECONDS", 0.3)
    rows = [row("aa"), row("a" * 40 + "b")]
    with pytest.raises(
        UserError, match=r"test row 0: evaluation\.answer takes more than 0\.3 s"
    ) as e:
        AnswerScorer(rows, SETTINGS | {"answer": "(?:(a+)+$|b)"})
    assert "'(?:(a+)+$|b)'" in str(e.value)

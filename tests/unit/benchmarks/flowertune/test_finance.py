"""Tests of the functions of FlowerTune's finance tasks; the data are invented."""

import pytest

from blossomtune.benchmarks.flowertune import FLOWERTUNE_DIR, TASK_FILES, finance


@pytest.mark.parametrize(
    ("convert", "row", "kind", "label"),
    [
        (finance.convert_fpb, {"sentence": "t", "label": 1}, "news", "neutral"),
        (finance.convert_tfns, {"text": "t", "label": 1}, "tweet", "positive"),
        (finance.convert_tfns, {"text": "t", "label": 2}, "tweet", "neutral"),
        *(
            (finance.convert_fiqa, {"sentence": "t", "sentiment_score": s, "format": f}, k, label)
            for s, f, k, label in [
                (-0.2, "post", "tweet", "negative"),
                (-0.1, "headline", "news", "neutral"),
                (0.1, "headline", "news", "positive"),
            ]
        ),
    ],
)
def test_rows_become_one_form(convert, row, kind, label):
    assert convert(row) == {"kind": kind, "text": "t", "label": label}


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (" Positive, I think", "positive"),
        ("negative", "negative"),
        ("negative or positive", "positive"),
        ("", "neutral"),
        ("NEGATIVE", "neutral"),
    ],
)
def test_answer_names_a_sentiment(answer, label):
    scores = {
        name: finance.score_answer({"label": name}, [answer])["acc"]
        for name in finance.LABELS.values()
    }
    assert [name for name, right in scores.items() if right] == [label]


def test_all_task_files_are_named():
    assert sorted(TASK_FILES) == sorted(file.name for file in FLOWERTUNE_DIR.glob("*.yaml"))

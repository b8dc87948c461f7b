"""Tests of the rows' own choices, and of the likeliest one."""

from types import SimpleNamespace

import numpy as np
import pytest
from lm_eval.api.task import ConfigurableTask

from blossomtune.errors import UserError
from blossomtune.evaluation.choices import load_choices, parse_options, predict_choices
from blossomtune.evaluation.rows import load_evaluation_set

TEXTS, LABELS = ["red", "green", "blue"], ["A", "B", "C"]


@pytest.mark.parametrize(
    "value",
    [
        TEXTS,
        dict(zip(LABELS, TEXTS, strict=True)),
        {"A": "red", "B": "green", "C": "blue", "D": None},
        {"text": TEXTS, "label": LABELS},
        '["red", "green", "blue"]',
        '{"A": "red", "B": "green", "C": "blue"}',
    ],
)
def test_every_form_of_options_is_read(value):
    assert parse_options(value) == (TEXTS, LABELS)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["red"], "1 options; two or more"),
        (None, "'None' has no options"),
        ("red, green", "Expecting value"),
        (["red", ""], "option '' is no text"),
        (["red", 3], "option 3 is no text"),
        ({"text": TEXTS, "label": ["A"]}, "3 texts and 1 labels"),
        ({"text": TEXTS, "label": ["A", "A", "B"]}, "a label is listed twice"),
        (["x"] * 27, "has no options"),
    ],
)
def test_bad_options_are_reported(value, message):
    with pytest.raises(ValueError, match=message):
        parse_options(value)


@pytest.mark.parametrize(
    ("completions", "score", "scored"),
    [
        (["green", "no"], "text", [TEXTS, ["yes", "no"]]),
        (["B", "B"], "text", [TEXTS, ["yes", "no"]]),
        (["B", "B"], "label", [LABELS, LABELS[:2]]),
        (["green", "no"], "label", [LABELS, LABELS[:2]]),
    ],
)
def test_rows_have_their_own_choices(held_out_files, completions, score, scored):
    files = held_out_files(["one", "two"], completions, options=[TEXTS, ["yes", "no"]])
    preprocessed, dataset = files
    settings = {"choices": {"column": "options", "score": score}, "by": None, "seed": 42}
    rows = load_evaluation_set(
        preprocessed, preprocessed.parent / "partition", dataset, settings | {"server_eval_rows": 0}
    ).rows
    assert [list(row.choices.texts) for row in rows] == scored
    assert [row.choices.gold for row in rows] == [1, 1]


def test_scored_kind_decides_where_a_text_is_also_a_label(tmp_path):
    files = tmp_path / "test.parquet"
    write_options(files, [{"text": ["2", "3"], "label": ["1", "2"]}])
    for score, gold in (("text", 0), ("label", 1)):
        setting = {"column": "options", "score": score}
        assert load_choices(["2"], [(files, 0)], setting)[0].gold == gold


def write_options(file, options):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"options": options}), file)


def test_completion_that_is_no_option_is_reported_with_its_row(tmp_path):
    file = tmp_path / "test.parquet"
    write_options(file, [TEXTS, TEXTS])
    setting = {"column": "options", "score": "text"}
    with pytest.raises(UserError) as caught:
        load_choices(["red", "pink"], [(file, 0), (file, 1)], setting)
    assert str(caught.value).startswith(
        "evaluation.choices: row 1 of test.parquet: column 'options': the completion 'pink' is no "
        "text and no label of the options A: 'red', B: 'green', C: 'blue'\n  hint: the column holds"
    )
    with pytest.raises(UserError, match=r"evaluation.choices.column: 'option' is not a column .*"):
        load_choices(["red"], [(file, 0)], setting | {"column": "option"})


def test_predictions_are_those_of_lm_evaluation_harness():
    random = np.random.default_rng(0)
    for _ in range(200):
        texts = ["é" * n for n in random.integers(1, 12, random.integers(2, 6))]
        nll, gold = random.gamma(2, 5, len(texts)), int(random.integers(len(texts)))
        task = SimpleNamespace(
            config=SimpleNamespace(process_results=None),
            OUTPUT_TYPE="multiple_choice",
            _metric_fn_list={"acc": None, "acc_norm": None},
            multiple_input=False,
            multiple_target=False,
            doc_to_choice=lambda doc: doc["texts"],
            doc_to_target=lambda doc: doc["gold"],
        )
        expected = ConfigurableTask.process_results(
            task, {"texts": texts, "gold": gold}, [(-value, False) for value in nll]
        )
        padded = np.append(nll, [-np.inf, 0.0])[None]  # what belongs to longer rows
        for name, by_length in (("acc", False), ("acc_norm", True)):
            (predicted,) = predict_choices(padded, [texts], by_length=by_length)
            assert float(predicted == gold) == expected[name]

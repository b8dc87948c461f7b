import pytest

from blossomtune.encoding import answer_start
from blossomtune.errors import UserError
from blossomtune.evaluation.rows import held_out

TEXTS, LABELS = ["good", "bad", "so so"], ["positive", "negative", "neutral"]


def test_rows_keep_their_order_and_take_their_group_from_the_data_set(held_out_files):
    preprocessed, dataset = held_out_files(TEXTS, LABELS, stars=[5, 1, 3])
    rows = held_out(preprocessed, dataset, LABELS, "stars")
    assert [row.completion for row in rows] == LABELS
    assert [row.group for row in rows] == ["5", "1", "3"]
    assert rows[0].prompt.endswith("good<|im_end|>\n<|im_start|>assistant\n")


def test_without_choices_any_completion_will_do(held_out_files):
    rows = held_out(*held_out_files(TEXTS, ["a", "b", "c"]), [], None)
    assert [row.group for row in rows] == [None] * 3


def test_an_unknown_column_is_named_with_those_there_are(held_out_files):
    with pytest.raises(UserError) as caught:
        held_out(*held_out_files(TEXTS, LABELS, domain=TEXTS), LABELS, "domian")
    assert str(caught.value) == (
        "evaluation.by: 'domian' is not a column of the data set; known: text, label, domain\n"
        "  hint: did you mean 'domain'?"
    )


def test_a_completion_that_is_no_choice_is_named(held_out_files):
    with pytest.raises(UserError) as caught:
        held_out(*held_out_files(TEXTS, ["positive", "Negative", "Negative"]), LABELS, None)
    assert str(caught.value).startswith(
        "evaluation.choices: the completions of 2 of 3 held-out rows are none of the choices: "
        "'Negative'; choices: 'positive', 'negative', 'neutral'\n  hint: "
    )


def test_many_completions_that_are_no_choice_are_counted(held_out_files):
    texts = [f"text {i}" for i in range(9)]
    with pytest.raises(UserError, match="'text 4' and 4 more; choices"):
        held_out(*held_out_files(texts, texts), LABELS, None)


def test_no_rows_are_an_error(held_out_files):
    with pytest.raises(UserError, match="no held-out row"):
        held_out(*held_out_files([], []), LABELS, None)


def test_the_last_answer_is_what_is_judged():
    ignored = [-100] * 3
    assert answer_start([*ignored, 5, 6]) == 3
    assert answer_start([*ignored, 5, *ignored, 6, 7]) == 7
    assert answer_start([5, 6, 7]) == 1  # plain text: nothing predicts its first token
    assert answer_start([-100, 6]) == 1

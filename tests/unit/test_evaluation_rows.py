import numpy as np
import pytest
from artifact_samples import partition_manifest

from blossomtune.errors import UserError
from blossomtune.evaluation.rows import load_evaluation_set
from blossomtune.modeling.encoding import find_completion_start
from blossomtune.seeds import derive_seed

TEXTS, LABELS = ["good", "bad", "so so"], ["positive", "negative", "neutral"]


def read(files, **changed):
    preprocessed, dataset = files
    settings = {"choices": LABELS, "by": None, "seed": 42, "server_eval_rows": 0} | changed
    return load_evaluation_set(preprocessed, preprocessed.parent / "partition", dataset, settings)


def test_rows_keep_their_order_and_take_their_group_from_the_data_set(held_out_files):
    rows = read(held_out_files(TEXTS, LABELS, stars=[5, 1, 3]), by="stars").rows
    assert [row.completion for row in rows] == LABELS
    assert [row.group for row in rows] == ["5", "1", "3"]
    assert rows[0].prompt.endswith("good<|im_end|>\n<|im_start|>assistant\n")


def test_without_choices_any_completion_will_do(held_out_files):
    found = read(held_out_files(TEXTS, ["a", "b", "c"]), choices=[])
    assert [row.group for row in found.rows] == [None] * 3
    assert (found.rows_by_client, found.client_row_source, found.num_excluded_rows) == ({}, None, 0)


def test_an_unknown_column_is_named_with_those_there_are(held_out_files):
    with pytest.raises(UserError) as caught:
        read(held_out_files(TEXTS, LABELS, domain=TEXTS), by="domian")
    assert str(caught.value) == (
        "evaluation.by: 'domian' is not a column of the data set; known: text, label, domain\n"
        "  hint: did you mean 'domain'?"
    )


def test_a_completion_that_is_no_choice_is_named(held_out_files):
    with pytest.raises(UserError) as caught:
        read(held_out_files(TEXTS, ["positive", "Negative", "Negative"]))
    assert str(caught.value).startswith(
        "evaluation.choices: the completions of 2 of 3 held-out rows are none of the choices: "
        "'Negative'; choices: 'positive', 'negative', 'neutral'\n  hint: "
    )


def test_many_completions_that_are_no_choice_are_counted(held_out_files):
    texts = [f"text {i}" for i in range(9)]
    with pytest.raises(UserError, match="'text 4' and 4 more; choices"):
        read(held_out_files(texts, texts))


def test_no_rows_are_an_error(held_out_files):
    with pytest.raises(UserError, match="no held-out row"):
        read(held_out_files([], []))


def test_rows_that_decided_something_are_left_out(held_out_files):
    texts = [f"text {i}" for i in range(9)]
    files = held_out_files(texts, ["x"] * 9, stars=list(range(9)))
    found = read(files, choices=[], by="stars", server_eval_rows=4)
    seen = np.random.default_rng(derive_seed(42, "server evaluation")).permutation(9)[:4]
    assert [row.group for row in found.rows] == [str(i) for i in range(9) if i not in seen]
    assert (found.num_common_rows, found.num_excluded_rows) == (5, 4)
    with pytest.raises(UserError, match=r"all 9 test rows decided .*\n  hint: lower federation"):
        read(files, choices=[], server_eval_rows=64)


def test_the_server_looks_at_the_rows_that_are_left_out(held_out_files):
    from blossomtune.modeling.eval_loss import ServerEvalSet

    files = held_out_files([f"{i}" * (i + 1) for i in range(9)], ["x"] * 9)
    looked_at = {tuple(row["input_ids"]) for row in ServerEvalSet(files[0], 4, seed=42).rows}
    scored = {row.input_ids for row in read(files, choices=[], server_eval_rows=4).rows}
    everything = {row.input_ids for row in read(files, choices=[]).rows}
    assert len(looked_at) == 4
    assert scored == everything - looked_at


CLIENTS = partition_manifest(["a", "b", "c"])
NATURAL = CLIENTS.model_copy(update={"partitioner": "natural_id", "column": "domain"})
DIRICHLET = NATURAL.model_copy(update={"partitioner": "dirichlet"})


def test_clients_have_the_rows_that_they_held_out(held_out_files):
    own = {0: (["hm", "oh"], ["neutral", "positive"]), 1: ([], []), 2: (["no"], ["negative"])}
    found = read(held_out_files(TEXTS, LABELS, own, NATURAL, domain=["a"] * 3))
    assert (found.num_common_rows, found.client_row_source, found.client_names) == (
        3,
        "own",
        ["a", "b", "c"],
    )
    answers = {
        n: [found.rows[i].completion for i in rows] for n, rows in found.rows_by_client.items()
    }
    assert answers == {"a": ["neutral", "positive"], "c": ["negative"]}
    assert [row.completion for row in found.rows[:3]] == LABELS


def test_clients_that_are_values_of_a_column_have_its_test_rows(held_out_files):
    files = held_out_files(TEXTS, LABELS, None, NATURAL, domain=["c", "else", "c"])
    found = read(files)
    assert (found.rows_by_client, found.client_row_source, found.num_common_rows) == (
        {"c": [0, 2]},
        "common",
        3,
    )


@pytest.mark.parametrize("partition", [DIRICHLET, NATURAL])
def test_else_clients_have_none(held_out_files, partition):
    columns = {"domain": ["a", "b", "c"]} if partition is not NATURAL else {}
    found = read(held_out_files(TEXTS, LABELS, None, partition, **columns))
    assert (found.rows_by_client, found.client_row_source) == ({}, None)


def test_a_clients_own_completions_must_be_choices_too(held_out_files):
    with pytest.raises(UserError, match="completions of 1 of 4 held-out rows are none"):
        read(held_out_files(TEXTS, LABELS, {0: (["x"], ["sad"])}, CLIENTS))


def test_the_last_answer_is_what_is_judged():
    ignored = [-100] * 3
    assert find_completion_start([*ignored, 5, 6]) == 3
    assert find_completion_start([*ignored, 5, *ignored, 6, 7]) == 7
    assert find_completion_start([5, 6, 7]) == 1  # plain text: nothing predicts its first token
    assert find_completion_start([-100, 6]) == 1

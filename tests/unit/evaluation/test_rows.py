"""Tests of the held-out rows that are scored."""

import numpy as np
import pytest
from artifact_samples import leaks, partition_manifest, tokenized_manifest

from blossomtune.artifacts.files import write_artifact
from blossomtune.errors import UserError
from blossomtune.evaluation.rows import load_evaluation_set
from blossomtune.seeds import derive_seed

TEXTS, LABELS = ["good", "bad", "so so"], ["positive", "negative", "neutral"]


def load(files, **changed):
    preprocessed, dataset = files
    settings = {"choices": LABELS, "by": None, "seed": 42, "server_eval_rows": 0} | changed
    return load_evaluation_set(preprocessed, preprocessed.parent / "partition", dataset, settings)


def test_rows_keep_their_order_and_have_the_columns_value(held_out_files):
    rows = load(held_out_files(TEXTS, LABELS, stars=[5, 1, 3]), by="stars").rows
    assert [row.completion for row in rows] == LABELS
    assert [row.group for row in rows] == ["5", "1", "3"]
    assert rows[0].prompt.endswith("good<|im_end|>\n<|im_start|>assistant\n")


def test_any_completion_is_allowed_without_choices(held_out_files):
    evaluation_set = load(held_out_files(TEXTS, ["a", "b", "c"]), choices=[])
    assert [row.group for row in evaluation_set.rows] == [None] * 3
    assert (
        evaluation_set.rows_by_client,
        evaluation_set.client_row_source,
        evaluation_set.num_excluded_rows,
    ) == ({}, None, 0)


def test_unknown_column_is_reported_with_known_ones(held_out_files):
    with pytest.raises(UserError) as caught:
        load(held_out_files(TEXTS, LABELS, domain=TEXTS), by="domian")
    assert str(caught.value) == (
        "evaluation.by: 'domian' is not a column of the data set; known: text, label, domain\n"
        "  hint: did you mean 'domain'?"
    )


def test_completion_that_is_no_choice_is_reported(held_out_files):
    with pytest.raises(UserError) as caught:
        load(held_out_files(TEXTS, ["positive", "Negative", "Negative"]))
    assert str(caught.value).startswith(
        "evaluation.choices: the completions of 2 of 3 held-out rows are none of the choices: "
        "'Negative'; choices: 'positive', 'negative', 'neutral'\n  hint: "
    )


def test_many_completions_that_are_no_choice_are_counted(held_out_files):
    texts = [f"text {i}" for i in range(9)]
    with pytest.raises(UserError, match="'text 4' and 4 more; choices"):
        load(held_out_files(texts, texts))


def test_missing_rows_are_reported(held_out_files):
    with pytest.raises(UserError, match="no held-out row"):
        load(held_out_files([], []))


def test_rows_that_influenced_training_are_left_out(held_out_files):
    texts = [f"text {i}" for i in range(9)]
    files = held_out_files(texts, ["x"] * 9, stars=list(range(9)))
    evaluation_set = load(files, choices=[], by="stars", server_eval_rows=4)
    used = np.random.default_rng(derive_seed(42, "server evaluation")).permutation(9)[:4]
    assert [row.group for row in evaluation_set.rows] == [str(i) for i in range(9) if i not in used]
    assert (evaluation_set.num_common_rows, evaluation_set.num_excluded_rows) == (5, 4)
    with pytest.raises(UserError, match=r"all 9 test rows decided .*\n  hint: lower federation"):
        load(files, choices=[], server_eval_rows=64)


def test_common_rows_that_leaked_are_known(held_out_files):
    files = held_out_files([f"text {i}" for i in range(9)], ["x"] * 9, stars=list(range(9)))
    manifest = tokenized_manifest(leaks=leaks(test_rows=[0, 3, 4, 8]))
    write_artifact(files[0] / "manifest.json", manifest)
    assert load(files, choices=[]).leaked_rows == [0, 3, 4, 8]
    scored = load(files, choices=[], by="stars", server_eval_rows=4)
    leaked = {scored.rows[i].group for i in scored.leaked_rows}
    assert leaked == {"0", "3", "4", "8"} & {row.group for row in scored.rows}


def test_left_out_rows_are_the_servers_evaluation_rows(held_out_files):
    from blossomtune.modeling.eval_loss import ServerEvalSet

    files = held_out_files([f"{i}" * (i + 1) for i in range(9)], ["x"] * 9)
    server_rows = {tuple(row["input_ids"]) for row in ServerEvalSet(files[0], 4, seed=42).rows}
    scored = {row.input_ids for row in load(files, choices=[], server_eval_rows=4).rows}
    all_rows = {row.input_ids for row in load(files, choices=[]).rows}
    assert len(server_rows) == 4
    assert scored == all_rows - server_rows


CLIENTS = partition_manifest(["a", "b", "c"])
NATURAL = CLIENTS.model_copy(update={"partitioner": "natural_id", "column": "domain"})
DIRICHLET = NATURAL.model_copy(update={"partitioner": "dirichlet"})


def test_clients_have_their_own_test_rows(held_out_files):
    own = {0: (["hm", "oh"], ["neutral", "positive"]), 1: ([], []), 2: (["no"], ["negative"])}
    evaluation_set = load(held_out_files(TEXTS, LABELS, own, NATURAL, domain=["a"] * 3))
    assert (
        evaluation_set.num_common_rows,
        evaluation_set.client_row_source,
        evaluation_set.client_names,
    ) == (
        3,
        "own",
        ["a", "b", "c"],
    )
    answers = {
        n: [evaluation_set.rows[i].completion for i in rows]
        for n, rows in evaluation_set.rows_by_client.items()
    }
    assert answers == {"a": ["neutral", "positive"], "c": ["negative"]}
    assert [row.completion for row in evaluation_set.rows[:3]] == LABELS


def test_natural_clients_have_the_test_rows_of_their_value(held_out_files):
    files = held_out_files(TEXTS, LABELS, None, NATURAL, domain=["c", "else", "c"])
    evaluation_set = load(files)
    assert (
        evaluation_set.rows_by_client,
        evaluation_set.client_row_source,
        evaluation_set.num_common_rows,
    ) == (
        {"c": [0, 2]},
        "common",
        3,
    )


@pytest.mark.parametrize("partition", [DIRICHLET, NATURAL])
def test_other_clients_have_no_rows(held_out_files, partition):
    columns = {"domain": ["a", "b", "c"]} if partition is not NATURAL else {}
    evaluation_set = load(held_out_files(TEXTS, LABELS, None, partition, **columns))
    assert (evaluation_set.rows_by_client, evaluation_set.client_row_source) == ({}, None)


def test_own_completions_must_be_choices_too(held_out_files):
    with pytest.raises(UserError, match="completions of 1 of 4 held-out rows are none"):
        load(held_out_files(TEXTS, LABELS, {0: (["x"], ["sad"])}, CLIENTS))

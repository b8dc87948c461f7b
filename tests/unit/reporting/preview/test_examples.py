"""Tests of reading tokenized examples."""

import numpy as np
import pytest

from blossomtune.errors import UserError
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.reporting.preview.examples import ExampleFile

ROWS = [{"prompt": f"{i}?", "completion": "yes" * (i % 3 + 1)} for i in range(300)]


@pytest.mark.parametrize("packing", [False, True])
def test_examples_are_the_rows_and_their_learnt_tokens(tokenize, tiny_model, packing):
    folder = tokenize({"a": ROWS}, test=ROWS[:2], packing=packing, max_length=128)
    tokenizer = load_tokenizer(tiny_model)
    file = ExampleFile(folder / "client_0.arrow")
    assert len(file.num_tokens) == len(ROWS)
    answers, names = [], []
    for position in range(len(ROWS)):
        example = file[position]
        assert len(example.ids) == len(example.is_learnt) == file.num_tokens[position]
        assert sum(example.is_learnt) == file.num_learnt[position]
        ids = np.array(example.ids)[example.is_learnt]
        question = tokenizer.decode(example.ids).split("user\n")[1].split("?")[0]
        answers.append((int(question), tokenizer.decode(ids)))
        names.append(example.name)
    assert sorted(answers) == [(i, row["completion"] + "<|im_end|>") for i, row in enumerate(ROWS)]
    assert len(set(names)) == len(ROWS)
    if packing:
        assert names[0].startswith("sequence 0, example 1 of ")
    else:
        assert names == [f"row {i}" for i in range(len(ROWS))]


def test_held_out_rows_have_their_texts(tokenize):
    folder = tokenize({"a": ROWS[:1]}, test=ROWS[:2])
    (_, prompt), (_, completion) = ExampleFile(folder / "test.arrow")[1].texts
    assert prompt == "<|im_start|>user\n1?<|im_end|>\n<|im_start|>assistant\n"
    assert completion == "yesyes"


def test_first_token_of_plain_text_is_not_learnt_since_nothing_predicts_it(tokenize):
    folder = tokenize({"a": [{"text": "abc"}]}, test=[{"text": "d"}])
    assert ExampleFile(folder / "client_0.arrow")[0].is_learnt == [False, True, True, True]


def test_file_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(UserError, match=r"test\.arrow: this file is needed"):
        ExampleFile(tmp_path / "test.arrow")
    (tmp_path / "test.arrow").write_bytes(b"not arrow")
    with pytest.raises(UserError, match=r"test\.arrow: not a file of tokens"):
        ExampleFile(tmp_path / "test.arrow")

"""Tests of the turns of a row."""

import pytest

from blossomtune.data.tokenization.row_turns import TurnReader, require_string
from blossomtune.errors import UserError

TALK = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def read(row, ignored=(), **columns):
    turns, references = TurnReader(columns, lambda key, row: row[key], ignored).read(row)
    return [
        (turn.message["role"], turn.message["content"], turn.is_learnt) for turn in turns
    ], references


def test_rendered_prompt_and_completion_are_two_turns():
    expected = [("user", "q", False), ("assistant", "a", True)]
    assert read({"prompt": "q", "completion": "a"}) == (expected, [])


def test_history_comes_first_as_pairs_or_mappings():
    for pair in (["x", "y"], {"instruction": "x", "output": "y"}):
        turns, _ = read({"prompt": "q", "completion": "a", "h": [pair]}, history="h")
        assert turns[:2] == [("user", "x", False), ("assistant", "y", True)]
    for empty in (None, []):
        turns, _ = read({"prompt": "q", "completion": "a", "h": empty}, history="h")
        assert len(turns) == 2
    for bad in (["x"], ["x", None], "xy"):
        with pytest.raises(UserError, match=r"h\[0\]: not a pair"):
            read({"prompt": "q", "completion": "a", "h": [bad]}, history="h")


def test_prompts_are_context_and_answers_are_learnt():
    columns = {"prompt": "p", "answer": "c"}
    turns, _ = read({"p": TALK + TALK[:1], "c": TALK[1:]}, **columns)
    assert [is_learnt for *_, is_learnt in turns] == [False, False, False, True]
    assert read({"p": "q", "c": ["a", "b", "c"]}, **columns)[1] == ["b", "c"]


def test_ignored_fields_belong_to_their_column():
    turns = [TALK[0] | {"name": 7}, TALK[1]]
    with pytest.raises(UserError, match="name: a value of type int is not text"):
        read({"m": turns}, messages="m", ignored=["other.name"])
    assert read({"m": turns}, messages="m", ignored=["m.name"]) == read({"m": TALK}, messages="m")


def test_missing_column_is_reported():
    with pytest.raises(UserError, match="m: there is no such column; columns: n"):
        read({"n": TALK}, messages="m")


def test_only_text_and_null_are_text():
    assert (require_string("k", None), require_string("k", "x")) == ("", "x")
    with pytest.raises(UserError, match="k: a value of type int is not text"):
        require_string("k", 3)

"""Tests of parsed turns."""

import pytest

from blossomtune.data.tokenization.turns import parse_turns
from blossomtune.errors import UserError


def parse(turn):
    ((message, is_learnt),) = parse_turns("c", [turn])
    return message, is_learnt


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("user", "user human prompter User HUMAN"),
        ("assistant", "assistant gpt bot model chatbot chatgpt bard bing ai claude GPT"),
        ("system", "system developer System"),
        ("tool", "tool function observation ipython function_response tool_response"),
    ],
)
def test_speaker_names_map_to_roles(role, names):
    for name in names.split():
        expected = {"role": role, "content": " x "}, role == "assistant"
        assert parse({"from": name, "value": " x "}) == expected
        assert parse({"role": name, "content": " x "}) == expected
        unified = {"role": name, "content": " x ", "from": None, "value": None}  # as Arrow does
        assert parse(unified | {"tool_calls": None, "name": None, "weight": None}) == expected


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking", "thought"])
def test_thoughts_have_many_names(field):
    message, _ = parse({"role": "assistant", "content": "a", field: "because"})
    assert message == {"role": "assistant", "content": "a", "reasoning_content": "because"}


def test_call_of_a_tool_in_every_form():
    function = {"name": "now", "arguments": {"city": "Paris"}}
    text = '{"name": "now", "arguments": {"city": "Paris"}}'
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [{"function": function}]},
        {"role": "assistant", "tool_calls": [function]},
        {"role": "assistant", "function_call": {"name": "now", "arguments": '{"city": "Paris"}'}},
        {"from": "function_call", "value": text},
        {"role": "assistant", "tool_calls": f"[{text}]"},
    ]
    for turn in turns:
        message, is_learnt = parse(turn)
        assert is_learnt
        assert message == {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"type": "function", "function": function}],
        }


def test_results_keep_name_and_call():
    turn = {"role": "tool", "content": "12:00", "name": "now", "tool_call_id": "c1"}
    assert parse(turn) == (turn, False)


def test_empty_field_does_not_hide_another_of_the_same_meaning():
    message = {"role": "assistant", "content": "x", "reasoning_content": "y"}
    turn = {"role": "gpt", "from": "gpt", "content": "", "value": "x", "thinking": "y"}
    assert parse(turn | {"reasoning": "", "reasoning_content": "y"}) == (message, True)
    assert parse({"role": "gpt", "content": ""}) == ({"role": "assistant", "content": ""}, True)


def test_parts_of_text_are_joined():
    parts = [{"type": "text", "text": "a", "image": None}, {"type": "text", "text": "b"}]
    assert parse({"role": "user", "content": parts})[0]["content"] == "ab"


def test_weight_and_train_mask_a_turn():
    turn = {"role": "assistant", "content": "a"}
    for key, values in (("weight", (0, 1, 0.0, 1.0)), ("train", (False, True))):
        for value in values:
            assert parse(turn | {key: value})[1] == bool(value)
    assert parse({"role": "user", "content": "a", "weight": 0})[1] is False


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (None, "c: null, and not a list of turns"),
        (7, "c: a value of type int, and not a list of turns"),
        (
            '[{"role": "user"}]',
            "c: text, and not a list of turns\n"
            "  hint: if it is JSON, write the turns as such into the file",
        ),
        (["hello"], "turn 0 of c: a value of type str, and not a speaker and what is said"),
        ([{"role": "narrator", "content": "x"}], "turn 0 of c: no known speaker: 'narrator'"),
        ([{"content": "x"}], "turn 0 of c: no known speaker: None"),
        ([{"role": "user", "content": None}], "turn 0 of c: null is not text"),
        ([{"role": "assistant", "content": None}], "turn 0 of c: null is not text"),
        (
            [{"role": "user", "content": [{"type": "image"}]}],
            "turn 0 of c: a part of type 'image'; only text can be learnt",
        ),
        (
            [{"role": "assistant", "content": "x", "thinking": ["y"]}],
            "turn 0 of c: reasoning_content: a value of type list is not text",
        ),
        (
            [{"role": "assistant", "content": "x", "weight": 0.5}],
            "turn 0 of c: weight: 0.5 is not allowed; allowed: 0 or 1",
        ),
        (
            [{"role": "assistant", "content": "x", "train": "no"}],
            "turn 0 of c: train: 'no' is not allowed; allowed: true or false",
        ),
        (
            [{"role": "assistant", "content": "x", "weight": 0, "train": True}],
            "turn 0 of c: weight 0 and train True contradict each other",
        ),
        (
            [{"role": "assistant", "content": "x", "value": "y"}],
            "turn 0 of c: content and value mean the same and differ: 'x', 'y'\n"
            "  hint: keep one of them; ignore_columns can leave the other out",
        ),
        (
            [{"role": "assistant", "content": "x", "thinking": "y", "reasoning_content": "z"}],
            "turn 0 of c: reasoning_content and thinking mean the same and differ: 'z', 'y'\n"
            "  hint: keep one of them; ignore_columns can leave the other out",
        ),
        (
            [{"role": "user", "content": "x", "train": True}],
            "turn 0 of c: train: True on a turn of role 'user'; only the assistant's turns are "
            "learnt\n  hint: leave train out there",
        ),
        (
            [{"role": "user", "content": "x", "tool_calls": [{"name": "f"}]}],
            "turn 0 of c: a turn of 'user' with tool calls; only the model calls",
        ),
    ],
)
def test_invalid_turn_is_rejected(cell, message):
    with pytest.raises(UserError) as error:
        parse_turns("c", cell)
    assert str(error.value) == message

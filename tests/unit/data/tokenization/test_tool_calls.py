"""Tests of parsed tool calls and tool definitions."""

import pytest

from blossomtune.data.tokenization.tool_calls import parse_tool_calls, parse_tools
from blossomtune.errors import UserError

CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


@pytest.mark.parametrize(
    "value",
    [
        CALL,
        [CALL],
        [{"function": {"name": "f", "arguments": '{"x": 1}'}}],
        [{"name": "f", "arguments": {"x": 1, "y": None}}],
        [{"name": "f", "parameters": {"x": 1}}],
        '[{"name": "f", "arguments": {"x": 1}}]',
        ['{"name": "f", "arguments": "{\\"x\\": 1}"}'],
    ],
)
def test_calls_are_read_in_every_form(value):
    assert parse_tool_calls("here", value) == [CALL]


def test_call_keeps_its_id_and_may_have_no_arguments():
    assert parse_tool_calls("here", [{"id": "c1", "name": "f"}]) == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {}}}
    ]


def test_null_arguments_survive_as_json_text():
    (call,) = parse_tool_calls("here", [{"name": "f", "arguments": '{"x": {"y": null}}'}])
    assert call["function"]["arguments"] == {"x": {"y": None}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, "here: int is no tool call"),
        ([7], r"here\[0\]: int is no tool call"),
        ([{"arguments": {}}], r"here\[0\]: a tool call without a name"),
        ([{"name": " "}], r"here\[0\]: a tool call without a name"),
        ([{"name": "f", "arguments": "{x"}], r"here\[0\]: arguments: not valid JSON"),
        ([{"name": "f", "arguments": "[1]"}], "arguments of 'f' are no JSON object"),
    ],
)
def test_invalid_call_is_rejected(value, message):
    with pytest.raises(UserError, match=message):
        parse_tool_calls("here", value)


@pytest.mark.parametrize(
    "value",
    [
        [{"name": "f", "description": None}],
        [{"type": "function", "function": {"name": "f"}}],
        {"name": "f"},
        '[{"name": "f"}]',
        ['{"name": "f"}'],
    ],
)
def test_tools_are_read_in_every_form(value):
    assert parse_tools("tools", value) == [{"type": "function", "function": {"name": "f"}}]


def test_null_defaults_survive_as_json_text():
    (tool,) = parse_tools("tools", '[{"name": "f", "parameters": {"default": null}}]')
    assert tool["function"]["parameters"] == {"default": None}


@pytest.mark.parametrize("value", [None, [], "[]", "null"])
def test_no_tools_are_none(value):
    assert parse_tools("tools", value) is None


@pytest.mark.parametrize("value", ["", 7, [{"description": "x"}], ["f"], "{"])
def test_invalid_tools_are_rejected(value):
    with pytest.raises(UserError, match=r"^tools"):
        parse_tools("tools", value)

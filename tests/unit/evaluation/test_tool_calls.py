"""Tests of the comparison of tool calls."""

import json

import pytest
from chat_cases import TOOLS
from chat_families import build_tokenizer
from chat_rows import assistant, call, user

from blossomtune.evaluation.tool_calls import parse_tool_calls, tool_call_match
from blossomtune.modeling.chat_template import ChatTemplate

WEATHER = {"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}
TIME = {"name": "get_time", "arguments": {}}
TEXT = json.dumps(WEATHER)


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{TEXT}\n</tool_call>",
        f"Let me {{look}}. <tool_call>{TEXT}</tool_call>",
        f"[TOOL_CALLS] [{TEXT}]",
        TEXT.replace("arguments", "parameters"),
        json.dumps({"type": "function", "function": WEATHER}),
        json.dumps(WEATHER | {"arguments": json.dumps(WEATHER["arguments"])}),
        '[get_weather(city="Paris", days=2)]',
        '<|tool_call_start|>[get_weather(days=2, city="Paris")]<|tool_call_end|>',
    ],
)
def test_calls_are_read_in_every_format(text):
    assert parse_tool_calls(text) == [WEATHER]
    assert tool_call_match(text, json.dumps([WEATHER])) == 1


@pytest.mark.parametrize(
    "family", ["llama3", "qwen2_5", "qwen3", "mistral_nemo", "mistral_small", "lfm2"]
)
def test_calls_are_read_as_chat_templates_write_them(family):
    template = ChatTemplate(build_tokenizer(family))
    arguments = {"city": 'Köln "am" Rhein', "days": [1, 2]}
    messages = [user("Cold?"), assistant(None, tool_calls=[call("get_weather", arguments)])]
    prompt = template.render(messages[:1], TOOLS, add_generation_prompt=True)
    text = template.render(messages, TOOLS, add_generation_prompt=False)
    answer = template.control_tokens.remove(text[len(prompt) :])
    assert parse_tool_calls(answer) == [{"name": "get_weather", "arguments": arguments}]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (f"{json.dumps(TIME)} {TEXT}", 1),
        (TEXT, 0),
        (f"{TEXT} {TEXT}", 0),
        (f"{json.dumps(TIME)} {TEXT.replace('Paris', 'paris')}", 0),
        (f"{json.dumps(TIME)} {TEXT.replace('2', '2, ' + json.dumps('x') + ': null')}", 0),
    ],
)
def test_all_names_and_arguments_must_match(text, score):
    assert tool_call_match(text, json.dumps([WEATHER, TIME])) == score


@pytest.mark.parametrize(
    "text",
    ["", "no call", "{", "[f(a=b)]", "[f(]", "[" * 10_000, '{"name": 1}', "[1, [2]]", "😀[😀]"],
)
def test_text_without_a_call_has_none(text):
    assert parse_tool_calls(text) == []

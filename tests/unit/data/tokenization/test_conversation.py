"""Tests of the texts of messages and tools."""

import pytest

from blossomtune.data.tokenization.conversation import (
    list_message_texts,
    list_tool_texts,
    split_thought,
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<think>\nwhy\n</think>\n\nso", ("\nwhy\n", "\n\nso")),
        (" <think>why</think>so", ("why", "so")),
        ("why</think>so", ("why", "so")),
        ("<think></think>so", ("", "so")),
        ("so", ("", "so")),
        ("<think>why", ("", "<think>why")),
        ("Hm. <think>why</think>so", ("", "Hm. <think>why</think>so")),
        ("a</think>b</think>c", ("", "a</think>b</think>c")),
    ],
)
def test_thought_is_split_off_the_start_only(content, expected):
    assert split_thought(content) == expected


def test_all_texts_of_a_message_are_listed():
    function = {
        "name": "find",
        "arguments": {"city": "Paris", "days": [1, True], "deep": {"k": ""}},
    }
    message = {
        "role": "assistant",
        "content": " <think>hm</think> yes ",
        "reasoning_content": "because",
        "name": "Ann",
        "tool_calls": [{"id": "c1", "function": function}],
    }
    assert sorted(list_message_texts(message)) == [
        ("content", "yes"),
        ("name", "Ann"),
        ("reasoning_content", "because"),
        ("reasoning_content", "hm"),
        *(
            ("tool_calls", text)
            for text in sorted(("1", "Paris", "city", "days", "deep", "find", "k", "true"))
        ),
    ]


def test_ids_of_results_and_missing_contents_are_no_texts():
    assert list_message_texts(
        {"role": "tool", "content": "x", "name": "f", "tool_call_id": "1"}
    ) == [("content", "x")]
    assert list_message_texts({"role": "assistant", "content": None}) == []


def test_names_and_descriptions_of_tools_and_parameters_are_listed():
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "A town."}},
        "required": ["city"],
    }
    function = {"name": "find", "description": "Finds.", "parameters": parameters}
    texts = [text for _, text in list_tool_texts([{"type": "function", "function": function}])]
    assert sorted(texts) == ["A town.", "Finds.", "city", "find"]

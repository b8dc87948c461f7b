"""Tests of conversations and texts built from rows."""

import pyarrow as pa
import pytest
from tiny_models import FAMILIES, build_byte_tokenizer

from blossomtune.artifacts.tokenized_manifest import RowFormat
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.tokenization import formats
from blossomtune.data.tokenization.messages import MessageBuilder
from blossomtune.errors import UserError
from blossomtune.modeling.control_tokens import ControlTokens

SYSTEM, USER, MODEL = "system", "user", "assistant"
TOKENIZER = build_byte_tokenizer(*FAMILIES["chatml"][:-1])
TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def make_messages(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


def make_builder(name, columns=None, settings=None, **templates):
    config = PreprocessingSettings.model_validate(settings or {}).model_dump()
    row_format = RowFormat(name=name, detected=False, columns=columns or {}, templates=templates)
    return MessageBuilder(row_format, config, ControlTokens(TOKENIZER, escape=False))


def build(name, row, columns=None, settings=None, **templates):
    conversation = make_builder(name, columns, settings, **templates).build_conversation(row)
    return list(conversation.messages), list(conversation.learnt)


def build_by_columns(row, **settings):
    """Build the conversation of a row whose format is detected."""
    config = PreprocessingSettings.model_validate(settings).model_dump()
    schema = pa.Table.from_pylist([row]).schema
    row_format = formats.resolve_format(config, schema)
    return MessageBuilder(row_format, config, ControlTokens(TOKENIZER)).build_conversation(row)


def test_messages_after_the_last_answer_and_empty_system_messages_are_dropped():
    cell = make_messages(
        (SYSTEM, " "), (USER, "q"), (MODEL, "a"), (USER, "r"), (MODEL, "b"), (USER, "s")
    )
    messages, learnt = build("messages", {"c": cell}, {"messages": "c"})
    assert messages == cell[1:5]
    assert learnt == [1, 3]


@pytest.mark.parametrize(
    "cell",
    [[], make_messages((USER, "q")), make_messages((MODEL, "Hello!"), (USER, "q"))],
)
def test_conversation_without_answer_is_rejected(cell):
    with pytest.raises(UserError, match=r"^c: the model answers no user's turn$"):
        build("messages", {"c": cell}, {"messages": "c"})


def test_empty_answer_is_rejected():
    cell = make_messages((USER, "q"), (MODEL, " \n"), (USER, "r"), (MODEL, "b"))
    with pytest.raises(UserError, match="turn 1 of c: the text is empty"):
        build("messages", {"c": cell}, {"messages": "c"})


def test_turns_of_weight_0_are_context_and_may_be_empty():
    cell = make_messages((USER, "q"), (MODEL, ""), (USER, "r"), (MODEL, "b"), (USER, "s"))
    cell[1]["weight"] = 0
    messages, learnt = build("messages", {"c": cell}, {"messages": "c"})
    assert (len(messages), learnt) == (4, [3])
    cell[3]["train"] = False
    with pytest.raises(UserError, match="c: no answer is learnt, since all have weight 0"):
        build("messages", {"c": cell}, {"messages": "c"})


def test_last_turn_is_the_last_one_with_weight():
    cell = make_messages((USER, "q"), (MODEL, "a"), (USER, "r"), (MODEL, "b"))
    cell[3]["weight"] = 0
    for changes, expected in (({}, [1]), ({"weight": 1}, [3])):
        cell[3] |= changes
        settings = {"loss": "last_turn"}
        messages, learnt = build("messages", {"c": cell}, {"messages": "c"}, settings)
        assert (learnt, len(messages)) == (expected, expected[0] + 1)


def test_system_template_applies_without_a_system_message():
    talk = make_messages((USER, "q"), (MODEL, "a"))
    system = make_messages((SYSTEM, "Hi."))
    columns, template = {"messages": "chat"}, "Be {{ how }}."
    row = {"chat": talk, "how": "brief"}
    assert build("messages", row, columns, system=template) == (
        make_messages((SYSTEM, "Be brief.")) + talk,
        [2],
    )
    row = {"chat": system + talk, "how": "brief"}
    assert build("messages", row, columns, system=template)[0] == system + talk
    row = {"chat": talk, "how": None}
    assert build("messages", row, columns, system="{{ how or '' }}") == (talk, [1])


def test_system_column_is_a_system_turn():
    talk = make_messages((USER, "q"), (MODEL, "a"))
    assert build_by_columns({"messages": talk, "system": "Be brief."}).messages == [
        *make_messages((SYSTEM, "Be brief.")),
        *talk,
    ]
    both = make_messages((SYSTEM, "Be long.")) + talk
    assert build_by_columns({"messages": both, "system": "Be long."}).messages == both
    with pytest.raises(UserError, match=r"different system turns\n  hint: ignore_columns: \[sys"):
        build_by_columns({"messages": both, "system": "Be brief."})
    kept = build_by_columns({"messages": both, "system": "Be brief."}, ignore_columns=["system"])
    assert kept.messages == both


def test_system_turn_is_folded_into_the_first_user_turn():
    talk = make_messages((USER, "q"), (MODEL, "a"))
    row = {"messages": make_messages((SYSTEM, "Be brief.")) + talk}
    conversation = build_by_columns(row, system_role="fold")
    assert conversation.messages == make_messages((USER, "Be brief.\n\nq"), (MODEL, "a"))
    assert conversation.learnt == [1]
    assert build_by_columns({"messages": talk}, system_role="fold").messages == talk


def test_prompt_and_completion_are_not_stripped():
    templates = {"prompt": "{{ q }}?\n ", "completion": " {{ a }}"}
    builder = make_builder("prompt_completion", **templates)
    messages = builder.build_conversation({"q": "why", "a": "so"}).messages
    assert messages == make_messages((USER, "why?\n "), (MODEL, " so"))
    with pytest.raises(UserError, match=r"^completion: the text is empty"):
        builder.build_conversation({"q": "why", "a": " "})
    with pytest.raises(UserError, match=r"^completion: a value that it writes is null"):
        builder.build_conversation({"q": "why", "a": None})
    with pytest.raises(UserError, match=r"^prompt: there is no column 'q'; columns: a"):
        builder.build_conversation({"a": "so"})


def test_turns_of_a_prompt_are_context_and_those_of_a_completion_are_learnt():
    few_shot = make_messages((USER, "1+1"), (MODEL, "2"), (USER, "2+2"))
    row = {"prompt": few_shot, "completion": make_messages((MODEL, "4"))}
    conversation = build_by_columns(row)
    assert conversation.messages == [*few_shot, *make_messages((MODEL, "4"))]
    assert conversation.learnt == [3]
    assert build_by_columns(row | {"prompt": "2+2"}).messages == make_messages(
        (USER, "2+2"), (MODEL, "4")
    )
    assert build_by_columns(row | {"completion": "4"}).messages == conversation.messages


def test_first_right_answer_is_learnt_and_the_others_are_references():
    asked = make_messages((USER, "2+2"))
    conversation = build_by_columns({"input": asked, "ideal": ["4", "four"]})
    assert conversation.messages == make_messages((USER, "2+2"), (MODEL, "4"))
    assert conversation.references == ["four"]
    assert build_by_columns({"input": asked, "ideal": "4"}).references == []
    with pytest.raises(UserError, match="ideal"):
        build_by_columns({"input": asked, "ideal": 4})


def test_alpaca_input_follows_the_instruction():
    for value, prompt in (
        ("a, b", "Sort.\n\na, b"),
        ("", "Sort."),
        (" ", "Sort."),
        (None, "Sort."),
    ):
        row = {"instruction": "Sort.", "input": value, "output": "done"}
        assert build_by_columns(row).messages == make_messages((USER, prompt), (MODEL, "done"))


def test_alpaca_system_and_history_come_before_the_instruction():
    row = {"instruction": "And 2+2?", "output": "4", "system": "Count.", "history": [["1+1", "2"]]}
    conversation = build_by_columns(row)
    assert conversation.messages == make_messages(
        (SYSTEM, "Count."), (USER, "1+1"), (MODEL, "2"), (USER, "And 2+2?"), (MODEL, "4")
    )
    assert conversation.learnt == [2, 4]
    with pytest.raises(UserError, match=r"history\[0\]: not a pair"):
        build_by_columns(row | {"history": [["1+1"]]})


def test_tools_are_read_from_their_column():
    tool = {"name": "now", "description": "The time.", "parameters": None}
    row = {"messages": make_messages((USER, "q"), (MODEL, "a")), "tools": [tool]}
    expected = [{"type": "function", "function": {"name": "now", "description": "The time."}}]
    assert build_by_columns(row).tools == expected
    assert build_by_columns(row | {"tools": None}).tools is None


def test_ignored_turn_fields_are_left_out():
    turns = make_messages((USER, "q"), (MODEL, "a"))
    turns[0]["name"] = "Ann"
    assert build_by_columns({"messages": turns}).messages[0]["name"] == "Ann"
    kept = build_by_columns({"messages": turns}, ignore_columns=["messages.name"]).messages
    assert kept == make_messages((USER, "q"), (MODEL, "a"))


@pytest.mark.parametrize("place", ["user", "assistant", "system", "name", "tools", "call"])
def test_control_tokens_in_any_text_are_refused(place):
    bad = "x<|im_end|>y"
    turns = make_messages((SYSTEM, "s"), (USER, "q"), (MODEL, "a"))
    row = {"messages": turns, "tools": [{"name": "now"}]}
    if place == "tools":
        row["tools"] = [{"name": "now", "description": bad}]
    elif place == "name":
        turns[1]["name"] = bad
    elif place == "call":
        call = {"function": {"name": "now", "arguments": {bad: 1}}}
        turns[2] = {"role": MODEL, "content": None, "tool_calls": [call]}
    else:
        turns[["system", "user", "assistant"].index(place)]["content"] = bad
    with pytest.raises(UserError, match=r"control tokens of the model: '<\|im_end\|>'"):
        build_by_columns(row)
    assert build_by_columns(row, control_tokens="keep").messages


def test_text_is_a_column_or_a_template():
    row = {"a text": " as it is ", "n": 3}

    def build_text(column=None, **templates):
        columns = {"text": column} if column else {}
        return make_builder("text", columns, **templates).build_conversation(row)

    assert build_text("a text") == " as it is "
    assert build_text(text="{{ n + 1 }}") == "4"
    for column, message in (("n", "n: a value of type int is not text"), ("x", "no such column")):
        with pytest.raises(UserError, match=message):
            build_text(column)
    with pytest.raises(UserError, match="text: the text is empty"):
        build_text(text=" ")
    with pytest.raises(UserError, match="control tokens"):
        build_text(text="a<|im_end|>")


def test_only_used_columns_are_selected():
    available = ["a", "b", "input", "talk"]
    builder = make_builder(
        "prompt_completion", prompt="{% if input is defined %}{{ a.x }}{% endif %}"
    )
    assert builder.select_columns(available) == ["a", "input"]
    assert make_builder(
        "messages", {"messages": "talk"}, system="{{ range(3) | list }}"
    ).select_columns(available) == ["talk"]
    assert builder.select_columns(["b", "a"]) == ["b", "a"]  # all, for the error

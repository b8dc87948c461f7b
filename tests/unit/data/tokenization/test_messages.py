"""Tests of messages and texts built from rows."""

import pyarrow as pa
import pytest

from blossomtune.artifacts.tokenized_manifest import RowFormat
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.tokenization import formats
from blossomtune.data.tokenization.messages import ROLE_BY_ALIAS, MessageBuilder, parse_conversation
from blossomtune.errors import UserError

SYSTEM, USER, MODEL = "system", "user", "assistant"


def make_messages(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


def make_builder(name, column=None, **templates):
    return MessageBuilder(RowFormat(name=name, detected=False, column=column, templates=templates))


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("user", "user human prompter User HUMAN"),
        ("assistant", "assistant gpt bot model chatbot chatgpt bard bing ai claude GPT"),
        ("system", "system developer System"),
    ],
)
def test_speaker_names_map_to_roles(role, names):
    answer = [("human", "q"), ("gpt", "a")]
    for name in names.split():
        pairs = [(name, " x "), *answer, *answer]
        sharegpt = [{"from": speaker, "value": text} for speaker, text in pairs]
        messages = [{"role": speaker, "content": text} for speaker, text in pairs]
        both = [m | {"from": None, "value": None} for m in messages]  # as Arrow unifies structs
        parsed = parse_conversation("column", sharegpt)
        assert parsed[0] == {"role": role, "content": "x"}
        assert (
            parsed == parse_conversation("column", messages) == parse_conversation("column", both)
        )


def test_messages_after_the_last_answer_and_empty_system_messages_are_dropped():
    cell = make_messages(
        (SYSTEM, " "), (USER, "q"), (MODEL, "a"), (USER, "r"), (MODEL, "b"), (USER, "s")
    )
    assert parse_conversation("c", cell) == cell[1:5]


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
        (make_messages(("narrator", "x")), "turn 0 of c: no known speaker: 'narrator'"),
        (make_messages((None, "x")), "turn 0 of c: no known speaker: None"),
        (
            make_messages((USER, "q"), ("tool", "x")),
            "turn 1 of c: a turn of 'tool'; tools are not supported",
        ),
        (make_messages((USER, None)), "turn 0 of c: null is not text"),
        (
            make_messages((USER, [{"type": "image"}])),
            "turn 0 of c: a value of type list is not text",
        ),
        ([], "c: the model answers no user's turn"),
        (make_messages((USER, "q")), "c: the model answers no user's turn"),
        (make_messages((MODEL, "Hello!"), (USER, "q")), "c: the model answers no user's turn"),
    ],
)
def test_cell_without_conversation_is_rejected(cell, message):
    with pytest.raises(UserError) as error:
        parse_conversation("c", cell)
    assert str(error.value) == message


def test_all_names_of_tools_are_rejected():
    names = [name for name, role in ROLE_BY_ALIAS.items() if role == "tool"]
    assert {"tool", "function", "observation", "function_call", "ipython"} <= set(names)
    for name in names:
        with pytest.raises(UserError, match="tools are not supported"):
            parse_conversation("c", [{"from": name, "value": "x"}])


def test_empty_answer_is_rejected():
    with pytest.raises(UserError, match="turn 1 of c: the text is empty"):
        parse_conversation(
            "c", make_messages((USER, "q"), (MODEL, " \n"), (USER, "r"), (MODEL, "b"))
        )


def test_system_template_applies_without_a_system_message():
    build = make_builder("messages", "chat", system="Be {{ how }}.").build_messages
    talk = make_messages((USER, "q"), (MODEL, "a"))
    system = make_messages((SYSTEM, "Hi."))
    assert build({"chat": talk, "how": "brief"}) == make_messages((SYSTEM, "Be brief.")) + talk
    assert build({"chat": system + talk, "how": "brief"}) == system + talk
    builder = make_builder("messages", "chat", system="{{ how or '' }}")
    assert builder.build_messages({"chat": talk, "how": None}) == talk


def test_prompt_and_completion_are_not_stripped():
    build = make_builder(
        "prompt_completion", prompt="{{ q }}?\n ", completion=" {{ a }}"
    ).build_messages
    assert build({"q": "why", "a": "so"}) == make_messages((USER, "why?\n "), (MODEL, " so"))
    with pytest.raises(UserError, match=r"^completion: the text is empty"):
        build({"q": "why", "a": " "})
    with pytest.raises(UserError, match=r"^completion: a value that it writes is null"):
        build({"q": "why", "a": None})
    with pytest.raises(UserError, match=r"^prompt: there is no column 'q'; columns: a"):
        build({"a": "so"})


def test_alpaca_input_follows_the_instruction():
    schema = pa.schema([(column, pa.string()) for column in ("instruction", "input", "output")])
    build = MessageBuilder(
        formats.resolve_format(PreprocessingSettings().model_dump(), schema)
    ).build_messages
    for value, prompt in (
        ("a, b", "Sort.\n\na, b"),
        ("", "Sort."),
        (" ", "Sort."),
        (None, "Sort."),
    ):
        row = {"instruction": "Sort.", "input": value, "output": "done"}
        assert build(row) == make_messages((USER, prompt), (MODEL, "done"))


def test_text_is_a_column_or_a_template():
    row = {"a text": " as it is ", "n": 3}
    assert make_builder("text", "a text").build_messages(row) == " as it is "
    assert make_builder("text", text="{{ n + 1 }}").build_messages(row) == "4"
    for column, message in (("n", "n: a value of type int is not text"), ("x", "no such column")):
        with pytest.raises(UserError, match=message):
            make_builder("text", column).build_messages(row)
    with pytest.raises(UserError, match="text: the text is empty"):
        make_builder("text", text=" ").build_messages(row)


def test_only_used_columns_are_selected():
    available = ["a", "b", "input", "talk"]
    builder = make_builder(
        "prompt_completion", prompt="{% if input is defined %}{{ a.x }}{% endif %}"
    )
    assert builder.select_columns(available) == ["a", "input"]
    assert make_builder("messages", "talk", system="{{ range(3) | list }}").select_columns(
        available
    ) == ["talk"]
    assert builder.select_columns(["b", "a"]) == ["b", "a"]  # all, for the error

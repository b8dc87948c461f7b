import pyarrow as pa
import pytest

from blossomtune.artifacts.tokenized_manifest import RowFormat
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.tokenization import formats
from blossomtune.data.tokenization.messages import ROLE_BY_ALIAS, MessageBuilder, parse_conversation
from blossomtune.errors import UserError

SYSTEM, USER, MODEL = "system", "user", "assistant"


def turns(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


def reader(name, column=None, **templates):
    return MessageBuilder(RowFormat(name=name, detected=False, column=column, templates=templates))


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("user", "user human prompter User HUMAN"),
        ("assistant", "assistant gpt bot model chatbot chatgpt bard bing ai claude GPT"),
        ("system", "system developer System"),
    ],
)
def test_every_speaker_has_a_role(role, names):
    answer = [("human", "q"), ("gpt", "a")]
    for name in names.split():
        told = [(name, " x "), *answer, *answer]
        sharegpt = [{"from": who, "value": text} for who, text in told]
        messages = [{"role": who, "content": text} for who, text in told]
        both = [m | {"from": None, "value": None} for m in messages]  # as Arrow unites structs
        read = parse_conversation("column", sharegpt)
        assert read[0] == {"role": role, "content": "x"}
        assert read == parse_conversation("column", messages) == parse_conversation("column", both)


def test_turns_after_the_models_last_are_left_out_and_so_are_empty_system_turns():
    cell = turns((SYSTEM, " "), (USER, "q"), (MODEL, "a"), (USER, "r"), (MODEL, "b"), (USER, "s"))
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
        (turns(("narrator", "x")), "turn 0 of c: no known speaker: 'narrator'"),
        (turns((None, "x")), "turn 0 of c: no known speaker: None"),
        (
            turns((USER, "q"), ("tool", "x")),
            "turn 1 of c: a turn of 'tool'; tools are not supported",
        ),
        (turns((USER, None)), "turn 0 of c: null is not text"),
        (turns((USER, [{"type": "image"}])), "turn 0 of c: a value of type list is not text"),
        ([], "c: the model answers no user's turn"),
        (turns((USER, "q")), "c: the model answers no user's turn"),
        (turns((MODEL, "Hello!"), (USER, "q")), "c: the model answers no user's turn"),
    ],
)
def test_cells_that_are_no_conversation(cell, message):
    with pytest.raises(UserError) as error:
        parse_conversation("c", cell)
    assert str(error.value) == message


def test_tools_are_known_by_all_their_names():
    names = [name for name, role in ROLE_BY_ALIAS.items() if role == "tool"]
    assert {"tool", "function", "observation", "function_call", "ipython"} <= set(names)
    for name in names:
        with pytest.raises(UserError, match="tools are not supported"):
            parse_conversation("c", [{"from": name, "value": "x"}])


def test_an_answer_must_say_something():
    with pytest.raises(UserError, match="turn 1 of c: the text is empty"):
        parse_conversation("c", turns((USER, "q"), (MODEL, " \n"), (USER, "r"), (MODEL, "b")))


def test_the_systems_template_is_for_conversations_that_have_no_system_turn():
    read = reader("messages", "chat", system="Be {{ how }}.").build_messages
    talk = turns((USER, "q"), (MODEL, "a"))
    told = turns((SYSTEM, "Hi."))
    assert read({"chat": talk, "how": "brief"}) == turns((SYSTEM, "Be brief.")) + talk
    assert read({"chat": told + talk, "how": "brief"}) == told + talk
    assert (
        reader("messages", "chat", system="{{ how or '' }}").build_messages(
            {"chat": talk, "how": None}
        )
        == talk
    )


def test_prompt_and_completion_are_rendered_and_not_stripped():
    read = reader("prompt_completion", prompt="{{ q }}?\n ", completion=" {{ a }}").build_messages
    assert read({"q": "why", "a": "so"}) == turns((USER, "why?\n "), (MODEL, " so"))
    with pytest.raises(UserError, match=r"^completion: the text is empty"):
        read({"q": "why", "a": " "})
    with pytest.raises(UserError, match=r"^completion: a value that it writes is null"):
        read({"q": "why", "a": None})
    with pytest.raises(UserError, match=r"^prompt: there is no column 'q'; columns: a"):
        read({"a": "so"})


def test_alpacas_input_follows_the_instruction_where_there_is_one():
    schema = pa.schema([(column, pa.string()) for column in ("instruction", "input", "output")])
    read = MessageBuilder(
        formats.resolve_format(PreprocessingSettings().model_dump(), schema)
    ).build_messages
    for given, prompt in (
        ("a, b", "Sort.\n\na, b"),
        ("", "Sort."),
        (" ", "Sort."),
        (None, "Sort."),
    ):
        row = {"instruction": "Sort.", "input": given, "output": "done"}
        assert read(row) == turns((USER, prompt), (MODEL, "done"))


def test_plain_text_is_a_column_or_a_template():
    row = {"a text": " as it is ", "n": 3}
    assert reader("text", "a text").build_messages(row) == " as it is "
    assert reader("text", text="{{ n + 1 }}").build_messages(row) == "4"
    for column, message in (("n", "n: a value of type int is not text"), ("x", "no such column")):
        with pytest.raises(UserError, match=message):
            reader("text", column).build_messages(row)
    with pytest.raises(UserError, match="text: the text is empty"):
        reader("text", text=" ").build_messages(row)


def test_only_the_columns_that_are_read_are_read():
    known = ["a", "b", "input", "talk"]
    one = reader("prompt_completion", prompt="{% if input is defined %}{{ a.x }}{% endif %}")
    assert one.select_columns(known) == ["a", "input"]
    assert reader("messages", "talk", system="{{ range(3) | list }}").select_columns(known) == [
        "talk"
    ]
    assert one.select_columns(["b", "a"]) == ["b", "a"]  # all, so that a message can list them

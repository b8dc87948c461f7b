"""Tests of what is learnt with the chat templates of fifteen model families.

A row is either refused, or the model learns each turn exactly as the chat template writes it in the
finished conversation, after exactly the prompt that it gets at inference.
"""

import json
from itertools import chain

import pytest
from chat_families import FAMILIES, build_tokenizer
from chat_oracle import decode_learnt_turns, list_learnt, render, render_learnt_turns
from chat_rows import assistant, call, result, save_tokenizer, tokenize_rows, tool, user

from blossomtune.errors import UserError

SYSTEM = {"role": "system", "content": "Be brief."}
TOOLS = [tool("get_weather", "Get the weather of a city.", city="Name of the city.")]
CALL = call("get_weather", {"city": 'Köln "am" Rhein'})
ANSWER = [result("9 °C"), assistant("It is cold.")]
TAGGED = "<think>\nHow deep?\n</think>\n\nVery deep."

# name: messages, tools
CASES = {
    "plain": ([user("Why?"), assistant("So.")], None),
    "system": ([SYSTEM, user("Why?"), assistant("So.")], None),
    "turns": ([user("Why?"), assistant("So."), user("And how?"), assistant("Well.")], None),
    "weight": (
        [user("Why?"), assistant("Bad.", weight=0), user("How?"), assistant("Good.", weight=1)],
        None,
    ),
    "think": ([user("Why?"), assistant("So.", reasoning_content="How deep?\n\nVery.")], None),
    "tagged": ([user("Why?"), assistant(TAGGED)], None),
    "thinks": (
        [
            *(user("Why?"), assistant("So.", reasoning_content="How deep?")),
            *(user("And how?"), assistant("Well.", reasoning_content="How well?")),
        ],
        None,
    ),
    "listed": ([user("Why?"), assistant("So.")], TOOLS),
    "call": ([user("Cold?"), assistant(None, tool_calls=[CALL]), *ANSWER], TOOLS),
    "both": ([user("Cold?"), assistant("Let me look.", tool_calls=[CALL]), *ANSWER], TOOLS),
    "calls": (
        [
            user("Cold?"),
            assistant(None, tool_calls=[CALL, call("get_weather", {"city": "Bonn"}, "abcdef013")]),
            result("9 °C"),
            result("8 °C", "abcdef013"),
            assistant("Both are."),
        ],
        TOOLS,
    ),
    "name": ([user("Why?", name="Ada"), assistant("So.")], None),
}

# ok: learnt; lost: the template does not write a text; prompt: training has another prompt than
# inference; error: the template raises an error
EXPECTED = """
               plain  system turns  weight think  tagged thinks listed call   both   calls  name
chatml         ok     ok     ok     ok     lost   ok     lost   lost   lost   lost   lost   lost
llama3         ok     ok     ok     ok     lost   ok     lost   ok     ok     lost   error  lost
qwen2_5        ok     ok     ok     ok     lost   ok     lost   ok     ok     ok     ok     lost
qwen3          ok     ok     ok     ok     ok     ok     ok     ok     ok     ok     ok     lost
qwen3_off      ok     ok     ok     ok     prompt prompt prompt ok     ok     ok     ok     lost
qwen3_thinking ok     ok     ok     ok     ok     ok     ok     lost   lost   lost   lost   lost
gemma2         ok     error  ok     ok     lost   ok     lost   lost   error  error  error  lost
gemma3         ok     ok     ok     ok     lost   ok     lost   lost   error  error  error  lost
mistral_nemo   ok     ok     ok     ok     lost   ok     lost   ok     ok     lost   ok     lost
mistral_small  ok     ok     ok     ok     lost   ok     lost   ok     ok     ok     ok     lost
phi4           ok     ok     ok     ok     lost   ok     lost   lost   lost   lost   lost   lost
deepseek_r1    prompt prompt prompt prompt prompt prompt prompt prompt prompt prompt prompt prompt
gpt_oss        ok     ok     ok     ok     ok     ok     ok     ok     ok     ok     lost   lost
smollm3        ok     ok     ok     ok     ok     ok     ok     lost   lost   lost   lost   lost
smollm3_off    ok     ok     ok     ok     ok     ok     ok     lost   lost   lost   lost   lost
granite3       ok     ok     ok     ok     lost   ok     lost   ok     lost   lost   lost   lost
lfm2           ok     ok     ok     ok     lost   ok     lost   ok     ok     ok     ok     lost
"""
REFUSALS = {
    "lost": "the chat template does not write this text",
    "prompt": "at inference",
    "error": "the model's chat template refuses these turns",
}


def parse_cells(text):
    """Yield family, case and expected outcome of each cell of a table."""
    header, *lines = (line.split() for line in text.strip().splitlines())
    for name, *cells in lines:
        yield from ((name, case, cell) for case, cell in zip(header, cells, strict=True))


CELLS = list(parse_cells(EXPECTED))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def tokenize(models, tmp_path):
    """Return a function that tokenizes rows with a family's chat template."""

    def tokenize_with(name, *rows, **config):
        arguments = FAMILIES[name].arguments | config.pop("chat_template_arguments", {})
        model = save_tokenizer(name, models)
        return tokenize_rows(tmp_path, model, rows, chat_template_arguments=arguments, **config)

    return tokenize_with


def make_row(messages, tools=None):
    return {"messages": messages} | ({"tools": tools} if tools else {})


def check_turns(name, examples, messages, tools=None, **changes):
    """Check that the examples of a row teach what the oracle renders."""
    tokenizer = build_tokenizer(name)
    expected = render_learnt_turns(tokenizer, FAMILIES[name], messages, tools, **changes)
    assert decode_learnt_turns(tokenizer, examples) == expected


def test_table_has_all_families_and_cases():
    assert {name for name, *_ in CELLS} == set(FAMILIES)
    assert {case for _, case, _ in CELLS} == set(CASES)


@pytest.mark.parametrize(("name", "case", "expected"), CELLS)
def test_learnt_turns_are_those_of_the_chat_template(tokenize, name, case, expected):
    messages, tools = CASES[case]
    if expected != "ok":
        with pytest.raises(UserError, match=REFUSALS[expected]):
            tokenize(name, make_row(messages, tools))
        return
    examples, _ = tokenize(name, make_row(messages, tools))
    check_turns(name, examples, messages, tools)


REWRITING = {"qwen3", "qwen3_off", "qwen3_thinking", "gpt_oss"}
"""Families whose templates write an answer differently once another turn follows."""


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"deepseek_r1"}))
def test_turns_share_an_example_unless_the_template_rewrites_them(tokenize, name):
    examples, _ = tokenize(name, make_row(*CASES["turns"]))
    assert len(examples) == (2 if name in REWRITING else 1)


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"deepseek_r1"}))
def test_last_turn_is_learnt_alone(tokenize, name):
    messages, _ = CASES["turns"]
    examples, _ = tokenize(name, make_row(messages), loss="last_turn")
    check_turns(name, examples, messages, last_turn=True)


CALLING = sorted({name for name, case, expected in CELLS if (case, expected) == ("call", "ok")})


@pytest.mark.parametrize("name", CALLING)
def test_arguments_may_be_json_text(tokenize, name):
    arguments = {"city": "Köln", "days": [1, 2.5, True, None], "deep": {"text": "a\n<b>"}}
    turns = [user("Cold?"), assistant(None, tool_calls=[call("f", json.dumps(arguments))])]
    examples, _ = tokenize(name, make_row(turns, json.dumps(TOOLS)))
    check_turns(name, examples, turns, TOOLS)


@pytest.mark.parametrize("name", CALLING)
def test_fields_of_other_rows_do_not_appear(tokenize, name):
    """Arrow gives each row the fields of all rows, as nulls."""
    rows = []
    for word, city in (("look", {"word": "a"}), ("weather", {"city": "b", "days": 2})):
        turns = [user("?"), assistant(None, tool_calls=[call(word, city)])]
        rows.append((turns, [tool(word, f"Tool {word}.", **dict.fromkeys(city, "Key."))]))
    plain = [user("Why?", weight=None), assistant("So.")]
    examples, _ = tokenize(name, *(make_row(*row) for row in rows), make_row(plain))
    tokenizer, family = build_tokenizer(name), FAMILIES[name]
    plain = [user("Why?"), assistant("So.")]
    expected = [render_learnt_turns(tokenizer, family, *row) for row in [*rows, (plain, None)]]
    assert decode_learnt_turns(tokenizer, examples) == sorted(chain.from_iterable(expected))


def test_ids_that_mistral_refuses_are_an_error(tokenize):
    turns = [user("Cold?"), assistant(None, tool_calls=[call("f", {"a": "b"}, id="call_1")])]
    with pytest.raises(UserError, match="ids of calls have nine characters"):
        tokenize("mistral_nemo", make_row(turns, TOOLS))


@pytest.mark.parametrize("text", ["name", "{", "parameters"])
def test_short_text_is_not_mistaken_for_the_words_of_the_template(tokenize, text):
    turns = [user("Cold?"), assistant(text, tool_calls=[CALL])]
    with pytest.raises(UserError, match="does not write this text of content: "):
        tokenize("llama3", make_row(turns, TOOLS))


@pytest.mark.parametrize("content", ["</think>", "<think>\n\n</think>\n\n"])
def test_answer_of_tags_alone_is_refused(tokenize, content):
    with pytest.raises(UserError, match="turn 1 of messages: the text is empty"):
        tokenize("qwen3", make_row([user("Why?"), assistant(content)]))


def test_name_is_not_mistaken_for_a_role(tokenize):
    with pytest.raises(UserError, match="does not write this text of name: 'user'"):
        tokenize("chatml", make_row([user("Why?", name="user"), assistant("So.")]))


@pytest.mark.parametrize(
    ("case", "field"), [("name", "name"), ("think", "reasoning_content"), ("listed", None)]
)
def test_ignored_field_is_left_out(tokenize, case, field):
    messages, tools = CASES[case]
    ignored = f"messages.{field}" if field else "tools"
    examples, manifest = tokenize("chatml", make_row(messages, tools), ignore_columns=[ignored])
    check_turns("chatml", examples, [{k: m[k] for k in m if k != field} for m in messages])
    assert ignored in str(manifest.model_dump()["column_use"])


def test_tools_can_move_to_the_system_turn(tokenize):
    arguments = {"tools_in_user_message": False}
    messages, tools = CASES["call"]
    examples, _ = tokenize("llama3", make_row(messages, tools), chat_template_arguments=arguments)
    family = FAMILIES["llama3"]._replace(arguments=arguments)
    expected = render_learnt_turns(build_tokenizer("llama3"), family, messages, tools)
    assert decode_learnt_turns(build_tokenizer("llama3"), examples) == expected


@pytest.mark.parametrize("case", ["plain", "system", "turns", "weight"])
def test_prompt_that_opens_a_thought_is_cut_on_request(tokenize, case):
    """DeepSeek-R1 answers after a prompt that its finished conversations do not have."""
    messages, _ = CASES[case]
    examples, manifest = tokenize("deepseek_r1", make_row(messages), prompt_mismatch="warn")
    unseen, tokenizer = "<think>\n", build_tokenizer("deepseek_r1")
    contexts = []
    for context, answer in decode_learnt_turns(tokenizer, examples):
        contexts.append(context)
        finished = [m["content"] for m in messages if answer.startswith(m["content"])]
        assert [answer] == [f"{content}<｜end▁of▁sentence｜>" for content in finished]
    prompts = [
        render(tokenizer, FAMILIES["deepseek_r1"], messages[:i], None, add_generation_prompt=True)
        for i in list_learnt(messages)
    ]
    assert contexts == sorted(prompt.removesuffix(unseen) for prompt in prompts)
    assert repr(unseen) in manifest.chat_template.warnings[0]

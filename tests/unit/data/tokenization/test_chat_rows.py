"""Tests of particular rows with chat templates: arguments of calls, ignored fields, short texts."""

import json
from itertools import chain

import pytest
from chat_cases import CALL, CASES, CELLS, TOOLS, check_turns, make_row
from chat_families import FAMILIES, build_tokenizer
from chat_oracle import decode_learnt_turns, list_learnt, render, render_learnt_turns
from chat_rows import assistant, call, tool, user

from blossomtune.errors import UserError

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

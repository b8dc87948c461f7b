"""Properties over random rows of all formats and chat templates: nothing to learn gets lost."""

import json
import re

import pytest
from chat_families import FAMILIES, build_tokenizer
from chat_oracle import (
    decode_learnt_turns,
    fix_date,
    list_learnt,
    parse_arguments,
    render_learnt_turns,
)
from chat_rows import assistant, call, result, save_tokenizer, tokenize_rows, tool, user
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from blossomtune.errors import UserError
from blossomtune.modeling.encoding import IGNORE_INDEX

CONTROL_TOKENS = sorted({t for f in FAMILIES.values() for t in (f.bos, f.eos, *f.special) if t})
TAGS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "[ARGS]"]
PIECES = [*TAGS, *"\n \t{}[]\"'\\:,<>|", "\n\n", "{{ x }}", "\\n", "é", "🌸", "名", "\u200b", "ß"]
CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cs", "Co"])
TOOL = tool("look_up", "Look a word up.", word="The word.")


def make_texts(pieces):
    text = st.lists(st.sampled_from(pieces) | st.text(CHARACTERS, max_size=6), max_size=5)
    return text.map("".join)


ANY_TEXT = make_texts(PIECES)
TEXT = ANY_TEXT.filter(str.strip)
FORGED_TEXT = make_texts([*PIECES, *CONTROL_TOKENS]).filter(str.strip)
WORD = st.text("abcdefghij_", min_size=1, max_size=8)


def draw_answer(draw, text, write_arguments):
    """Draw an assistant's turn, with its results if it calls a tool."""
    turn = assistant(draw(text))
    if draw(st.booleans()):
        turn["reasoning_content"] = draw(text)
    if draw(st.integers(0, 3)) == 0:
        turn["weight"] = draw(st.integers(0, 1))
    if draw(st.integers(0, 2)) > 0:
        return [turn]
    optional = {"days": st.integers(-9, 9), "deep": st.lists(text, min_size=1, max_size=2)}
    arguments = draw(st.fixed_dictionaries({"word": text}, optional=optional))
    turn["tool_calls"] = [call(draw(WORD), write_arguments(arguments))]
    if draw(st.booleans()):
        turn["content"] = None
    return [turn, result(draw(text)), assistant(draw(text))]


@st.composite
def conversations(draw, text):
    """Return messages of any fields, and tools or None."""
    messages = [{"role": "system", "content": draw(text)}] if draw(st.booleans()) else []
    write_arguments = draw(st.sampled_from([dict, json.dumps]))
    if draw(st.integers(0, 7)) == 0:
        messages.append(assistant(draw(text)))
    for _ in range(draw(st.integers(1, 3))):
        messages += [user(draw(text)) for _ in range(draw(st.sampled_from([1, 1, 1, 2])))]
        messages += draw_answer(draw, text, write_arguments)
    if draw(st.integers(0, 7)) == 0:
        messages.append(user(draw(text)))
    has_calls = any("tool_calls" in message for message in messages)
    return messages, [TOOL] if has_calls and draw(st.booleans()) else None


def list_texts(messages):
    """Return the texts of the turns that the model should learn."""
    texts = []
    for message in (messages[i] for i in list_learnt(messages)):
        texts += [message.get("content") or "", message.get("reasoning_content", "")]
        for function in (parse_arguments(c)["function"] for c in message.get("tool_calls", [])):
            texts += [function["name"], *list_leaves(function["arguments"])]
    return texts


def list_leaves(value):
    """Return keys and values of nested lists and mappings as text."""
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *list_leaves(item))]
    if isinstance(value, list):
        return [text for item in value for text in list_leaves(item)]
    return [str(value)]


def draw_messages(draw):
    messages, tools = draw(conversations(TEXT))
    return {"messages": messages} | ({"tools": tools} if tools else {}), list_texts(messages)


def draw_sharegpt(draw):
    pairs = draw(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3))
    turns = [
        {"from": speaker, "value": text}
        for pair in pairs
        for speaker, text in zip(("human", "gpt"), pair, strict=True)
    ]
    return {"conversations": turns}, [answer for _, answer in pairs]


def draw_text(draw):
    text = draw(TEXT)
    return {"text": text}, [text]


def draw_prompt_completion(draw):
    prompt, completion = draw(TEXT), draw(TEXT)
    return {"prompt": prompt, "completion": completion}, [completion]


def draw_turn_lists(draw):
    messages, tools = draw(conversations(TEXT))
    assume(list_learnt(messages))
    first = list_learnt(messages)[0]
    row = {"prompt": messages[:first], "completion": messages[first:]}
    return row | ({"tools": tools} if tools else {}), list_texts(messages)


def draw_input_ideal(draw):
    turns, ideal = [user(draw(TEXT))], draw(st.lists(TEXT, min_size=1, max_size=2))
    return {"input": turns, "ideal": ideal if draw(st.booleans()) else ideal[0]}, ideal[:1]


def draw_alpaca(draw):
    history = draw(st.lists(st.lists(TEXT, min_size=2, max_size=2), max_size=2))
    row = {key: draw(TEXT) for key in ("instruction", "input", "output", "system")}
    row |= {"history": history} if history else {}
    return row, [row["output"], *(answer for _, answer in history)]


FORMATS = {
    "messages": draw_messages,
    "sharegpt": draw_sharegpt,
    "text": draw_text,
    "prompt_completion": draw_prompt_completion,
    "turn_lists": draw_turn_lists,
    "input_ideal": draw_input_ideal,
    "alpaca": draw_alpaca,
}


def is_in(text, learnt):
    """Return whether a template wrote a text as it is, in JSON, or in the manner of Python."""
    python = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    forms = (text, json.dumps(text, ensure_ascii=False)[1:-1], python)
    return any(form.strip() in learnt for form in forms)


@pytest.fixture(scope="module")
def tokenize(tmp_path_factory):
    """Return a function that tokenizes one row with a family's chat template."""
    models = tmp_path_factory.mktemp("models")

    def tokenize_row(name, row, **config):
        folder, model = tmp_path_factory.mktemp("rows"), save_tokenizer(name, models)
        arguments = FAMILIES[name].arguments
        return tokenize_rows(folder, model, [row], chat_template_arguments=arguments, **config)[0]

    return tokenize_row


@pytest.mark.parametrize("row_format", FORMATS)
@given(data=st.data(), name=st.sampled_from(sorted(FAMILIES)))
@settings(max_examples=30)
def test_every_learnt_text_is_in_the_learnt_tokens(tokenize, row_format, data, name):
    row, texts = FORMATS[row_format](data.draw)
    mismatch = data.draw(st.sampled_from(["error", "warn"]))
    try:
        examples = tokenize(name, row, prompt_mismatch=mismatch)
    except UserError:
        return
    ids = [label for e in examples for label in e["labels"] if label != IGNORE_INDEX]
    learnt = build_tokenizer(name).decode(ids)
    # templates move thoughts, and write their tags
    pieces = [piece for text in texts for piece in re.split("</?think>", text)]
    assert [piece for piece in pieces if not is_in(piece, learnt)] == []


@given(conversation=conversations(TEXT), name=st.sampled_from(sorted(FAMILIES)))
@settings(max_examples=100)
def test_conversations_are_learnt_as_the_chat_template_writes_them(tokenize, conversation, name):
    messages, tools = conversation
    row = {"messages": messages} | ({"tools": tools} if tools else {})
    try:
        examples = tokenize(name, row)
    except UserError:
        return
    tokenizer = build_tokenizer(name)
    expected = render_learnt_turns(tokenizer, FAMILIES[name], messages, tools)
    assert decode_learnt_turns(tokenizer, examples) == expected


def tokenize_sanitized(tokenizer, family, messages):
    """Return ids where only the chat template's own tokens are control tokens."""
    ids, tokenizer.chat_control_tokens = [], []  # only special tokens
    for end, add_generation_prompt in ((len(messages) - 1, True), (len(messages), False)):
        encoded = tokenizer.apply_chat_template(
            messages[:end],
            add_generation_prompt=add_generation_prompt,
            chat_template=fix_date(tokenizer.chat_template),
            sanitize_control_tokens=True,
            **family.arguments,
        )
        ids.append(encoded["input_ids"])
    return ids


@given(
    texts=st.tuples(FORGED_TEXT, FORGED_TEXT),
    name=st.sampled_from(sorted(set(FAMILIES) - {"deepseek_r1"})),
)
@settings(max_examples=80)
def test_control_tokens_of_rows_become_characters(tokenize, texts, name):
    family, tokenizer = FAMILIES[name], build_tokenizer(name)
    question, answer = texts
    row = {"prompt": question, "completion": answer}
    assume("think>" not in answer)
    (example,) = tokenize(name, row, control_tokens="text")
    ids = example["input_ids"]
    harmless = [re.sub("|".join(map(re.escape, CONTROL_TOKENS)), "x", text) for text in texts]
    (neutral,) = tokenize(name, {"prompt": harmless[0], "completion": harmless[1]})
    special = set(tokenizer.all_special_ids)
    assert [i for i in ids if i in special] == [i for i in neutral["input_ids"] if i in special]
    decoded = tokenizer.decode(ids)
    assert question.strip() in decoded
    assert answer.strip() in tokenizer.decode([i for i in example["labels"] if i != IGNORE_INDEX])
    prompt, finished = tokenize_sanitized(tokenizer, family, [user(question), assistant(answer)])
    assert example["labels"].count(IGNORE_INDEX) == len(prompt)
    assert ids == finished[: len(ids)]

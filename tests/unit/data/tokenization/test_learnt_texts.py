"""Properties over random rows of all formats and chat templates: nothing to learn gets lost."""

import json
import re

import pyarrow as pa
import pytest
from chat_families import FAMILIES, build_tokenizer
from chat_oracle import decode_learnt_turns, fix_date, render_learnt_turns
from chat_rows import assistant, save_tokenizer, tokenize_rows, user
from chat_strategies import CONTROL_TOKENS, FORGED_TEXT, FORMATS, TEXT, conversations
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from blossomtune.errors import UserError
from blossomtune.modeling.encoding import IGNORE_INDEX


def is_in(text, learnt):
    """Return whether a template wrote a text as it is, in JSON, or in the manner of Python."""
    python = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    forms = (text, json.dumps(text, ensure_ascii=False)[1:-1], python)
    return any(form.strip() in learnt for form in forms)


@pytest.fixture(scope="module")
def tokenize(models, tmp_path_factory):
    """Return a function that tokenizes one row, in a folder of its own for each example."""

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


def store_in_arrow(row):
    """Return a row as Arrow stores it: arguments of all calls have their keys in the same order."""

    def drop_nulls(value):
        if isinstance(value, dict):
            kept = (key for key, item in value.items() if item is not None or key == "content")
            return {key: drop_nulls(value[key]) for key in kept}
        return [drop_nulls(item) for item in value] if isinstance(value, list) else value

    return drop_nulls(pa.Table.from_pylist([row]).to_pylist()[0])


@given(conversation=conversations(TEXT), name=st.sampled_from(sorted(FAMILIES)))
@settings(max_examples=100)
def test_conversations_are_learnt_as_the_chat_template_writes_them(tokenize, conversation, name):
    messages, tools = conversation
    row = {"messages": messages} | ({"tools": tools} if tools else {})
    try:
        examples = tokenize(name, row)
    except UserError:
        return
    tokenizer, stored = build_tokenizer(name), store_in_arrow(row)
    expected = render_learnt_turns(tokenizer, FAMILIES[name], stored["messages"], tools)
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

"""Render what a model should learn with `apply_chat_template` alone, apart from the library."""

import re
from itertools import groupby

from blossomtune.modeling.encoding import IGNORE_INDEX

FIXED_DATE = "'01 Jan 2025'"


def render(tokenizer, family, messages, tools, *, add_generation_prompt):
    """Return the text of a conversation, on a fixed date."""
    return tokenizer.apply_chat_template(
        messages,
        tools=tools,
        chat_template=re.sub(r"strftime_now\(.*?\)", FIXED_DATE, tokenizer.chat_template),
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        **family.arguments,
    )


def render_turn(tokenizer, family, messages, tools=None):
    """Return what a model reads before the last turn, and what it should write.

    Raises:
        ValueError: If the finished conversation does not start with the prompt at inference.
    """
    prompt = render(tokenizer, family, messages[:-1], tools, add_generation_prompt=True)
    finished = render(tokenizer, family, messages, tools, add_generation_prompt=False)
    if not finished.startswith(prompt):
        raise ValueError(f"{finished!r} does not start with {prompt!r}")
    end = max(finished.rfind(token) + len(token) for token in family.end_tokens)
    assert finished[end:].strip() == "", "text after the end of the turn"
    return prompt, finished[len(prompt) : end]


def list_learnt(messages):
    """Return the indices of the assistant's turns that a model should learn."""
    return [
        i
        for i, message in enumerate(messages)
        if message["role"] == "assistant" and message.get("weight", message.get("train", 1))
    ]


def render_learnt_turns(tokenizer, family, messages, tools=None, *, last_turn=False):
    """Return ``render_turn`` of each turn that a model should learn, sorted."""
    learnt = list_learnt(messages)[-1:] if last_turn else list_learnt(messages)
    messages = [
        {key: value for key, value in message.items() if key not in ("weight", "train")}
        for message in messages
    ]
    return sorted(render_turn(tokenizer, family, messages[: i + 1], tools) for i in learnt)


def decode_learnt_turns(tokenizer, examples):
    """Return each run of learnt tokens with all that stands before it, as text, sorted.

    The control tokens of the text are those of the ids: each text is tokenized to its ids.
    """
    decoded = []
    for example in examples:
        ids, labels = example["input_ids"], example["labels"]
        assert [
            i for i, label in zip(ids, labels, strict=True) if label not in (i, IGNORE_INDEX)
        ] == []
        start = 0
        for learnt, run in groupby(labels, key=lambda label: label != IGNORE_INDEX):
            end = start + len(list(run))
            if learnt:
                decoded.append((tokenizer.decode(ids[:start]), tokenizer.decode(ids[start:end])))
            start = end
        text = tokenizer.decode(ids)
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids
    return sorted(decoded)

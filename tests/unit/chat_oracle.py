"""Render what a model should learn with `apply_chat_template` alone, apart from the library."""

import json
import re
from itertools import groupby

from blossomtune.modeling.encoding import IGNORE_INDEX

FIXED_DATE = "'01 Jan 2025'"

THOUGHT = re.compile(
    r"(?:\s*<think>)?\n*((?:(?!</?think>).)*?)\n*</think>\n*((?:(?!</think>).)*)", re.DOTALL
)
"""A thought, with or without its opening tag, and the rest of a content."""


def fix_date(template):
    """Return a chat template that writes a fixed date, not today's."""
    return re.sub(r"strftime_now\(.*?\)", FIXED_DATE, template)


def render(tokenizer, family, messages, tools, *, add_generation_prompt):
    """Return the text of a conversation, on a fixed date."""
    return tokenizer.apply_chat_template(
        messages,
        tools=tools,
        chat_template=fix_date(tokenizer.chat_template),
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        **family.arguments,
    )


def render_turn(tokenizer, family, messages, tools=None):
    """Return what a model reads before the last turn at inference, and what it should write.

    Some templates rewrite the turns before an answer. The answer itself is then taken from a
    conversation without these turns.

    Raises:
        ValueError: If the template writes the answer differently than the prompt asks for.
    """
    prompt = render(tokenizer, family, messages[:-1], tools, add_generation_prompt=True)
    finished = render(tokenizer, family, messages, tools, add_generation_prompt=False)
    end = max(finished.rfind(token) + len(token) for token in family.end_tokens)
    assert finished[end:].strip() == "", "text after the end of the turn"
    if finished.startswith(prompt):
        return prompt, finished[len(prompt) : end]
    question = {"role": "user", "content": "?"}
    if len(messages) == 2 and messages[0] == question:
        raise ValueError(f"{finished!r} does not start with {prompt!r}")
    _, answer = render_turn(tokenizer, family, [question, messages[-1]], tools)
    if not finished[:end].endswith(answer):
        raise ValueError(f"{finished!r} does not end with {answer!r}")
    return prompt, answer


def list_learnt(messages):
    """Return the indices of the turns to learn: the assistant's, after a user's, with weight."""
    first_user = [message["role"] for message in messages].index("user")
    return [
        i
        for i, message in enumerate(messages)
        if message["role"] == "assistant" and i > first_user
        if message.get("weight", message.get("train", 1))
    ]


def parse_arguments(call):
    """Return a call whose arguments are a mapping, not JSON text."""
    function, arguments = call["function"], call["function"]["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    return call | {"function": function | {"arguments": arguments}}


def adapt_message(family, message):
    """Return a message without weight, as the family's chat template reads it.

    Its thought is where the template looks for it; arguments of calls are mappings.
    """
    message = {key: value for key, value in message.items() if key not in ("weight", "train")}
    if "tool_calls" in message:
        message["tool_calls"] = [parse_arguments(call) for call in message["tool_calls"]]
    content = message["content"]
    if family.thoughts == "content" and "reasoning_content" in message:
        thought = message.pop("reasoning_content")
        return message | {"content": f"<think>\n{thought}\n</think>\n\n{content or ''}"}
    if family.thoughts == "field" and message["role"] == "assistant" and content:
        match = THOUGHT.fullmatch(content)
        if match and "reasoning_content" not in message:
            thought = {"reasoning_content": match[1]} if match[1].strip() else {}
            return message | {"content": match[2]} | thought
    return message


def render_learnt_turns(tokenizer, family, messages, tools=None, *, last_turn=False):
    """Return ``render_turn`` of each turn that a model should learn, sorted."""
    learnt = list_learnt(messages)[-1:] if last_turn else list_learnt(messages)
    messages = [adapt_message(family, message) for message in messages]
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

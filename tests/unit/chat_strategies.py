"""Random rows of all formats, each with the texts that the model should learn."""

import json

from chat_families import FAMILIES
from chat_oracle import list_learnt, parse_arguments
from chat_rows import assistant, call, result, tool, user
from hypothesis import assume
from hypothesis import strategies as st

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

"""Detect how a chat template takes thoughts and contents of tool calls, by rendering probes."""

import functools
from collections.abc import Sequence
from typing import Any

from blossomtune.data.tokenization.conversation import split_thought
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage, ChatTemplate

_USER = {"role": "user", "content": "question"}
_THOUGHT = "blossomtunethought"
_NAME = "blossomtune_call"
_PROBES = {
    "content": "blossomtunecontent",
    "reasoning_content": _THOUGHT,
    "name": "blossomtunename",
}


def adapt_message(template: ChatTemplate, message: ChatMessage) -> ChatMessage:
    """Return a message of the assistant with its thought where the chat template reads it.

    A template that reads ``reasoning_content`` gets ``<think>…</think>`` of a content there. One
    that knows thoughts only inside contents gets ``reasoning_content`` there. For any other
    template the message stays as it is.

    Args:
        template: A chat template.
        message: A message.

    Returns:
        The message to render.
    """
    if message["role"] != "assistant":
        return message
    content, reasoning = message["content"], message.get("reasoning_content")
    if content is None:
        return message | {"content": _get_content_of_call(template)}
    if reasoning is None and "</think>" in content and _reads_reasoning(template):
        thought, rest = split_thought(content)
        if rest is content:
            return message
        adapted = message | {"content": rest.lstrip("\n")}
        thought = thought.strip("\n")
        return adapted | ({"reasoning_content": thought} if thought.strip() else {})
    if reasoning and not _reads_reasoning(template) and _reads_inline_thoughts(template):
        inline = f"<think>\n{reasoning}\n</think>\n\n{content}"
        return {k: v for k, v in message.items() if k != "reasoning_content"} | {"content": inline}
    return message


def find_unread_fields(template: ChatTemplate, message: ChatMessage) -> Sequence[str]:
    """Return the fields that the chat template leaves out of such a message.

    A text alone does not show this: the template's own words may hold a short one. So a probe is
    rendered that has the same fields.

    Args:
        template: A chat template.
        message: A message of the user or assistant.

    Returns:
        The names of the fields.
    """
    fields = tuple(field for field in _PROBES if message.get(field))
    return _find_unread_probes(
        template, message["role"], fields, len(message.get("tool_calls", ()))
    )


@functools.lru_cache(maxsize=64)
def _find_unread_probes(
    template: ChatTemplate, role: str, fields: tuple[str, ...], num_calls: int
) -> list[str]:
    probe: ChatMessage = {"role": role, "content": None} | {
        field: _PROBES[field] for field in fields
    }
    if num_calls:
        function = {"name": _NAME, "arguments": {"key": "value"}}
        calls = [
            {"id": f"call{i:05}", "type": "function", "function": function}
            for i in range(num_calls)
        ]
        probe["tool_calls"] = calls
    history = [_USER] if role == "assistant" else []
    try:
        rendered = template.render(
            [*history, adapt_message(template, probe)], add_generation_prompt=role != "assistant"
        )
    except UserError:  # the template may want more, which the row has
        return []
    unread = [field for field in fields if _PROBES[field] not in rendered]
    if rendered.count(_NAME) < num_calls:
        unread.append("tool_calls")
    return unread


@functools.lru_cache(maxsize=8)
def _reads_reasoning(template: ChatTemplate) -> bool:
    rendered = _try_render(template, {"content": "answer", "reasoning_content": _THOUGHT})
    return _THOUGHT in rendered


@functools.lru_cache(maxsize=8)
def _reads_inline_thoughts(template: ChatTemplate) -> bool:
    """Return whether a template mentions ``<think>`` and writes thoughts inside contents."""
    inline = f"<think>\n{_THOUGHT}\n</think>\n\nanswer"
    mentions = "<think>" in template.tokenizer.get_chat_template()
    return mentions and _THOUGHT in _try_render(template, {"content": inline})


@functools.lru_cache(maxsize=8)
def _get_content_of_call(template: ChatTemplate) -> str | None:
    """Return the content of a call without text: "", or null where "" would hide the call."""
    function = {"name": _NAME, "arguments": {"key": "value"}}
    calls = [{"id": "call00001", "type": "function", "function": function}]
    if _NAME in _try_render(template, {"content": "", "tool_calls": calls}):
        return ""
    # transformers drops a null content
    return None if _NAME in _try_render(template, {"content": None, "tool_calls": calls}) else ""


def _try_render(template: ChatTemplate, answer: dict[str, Any]) -> str:
    try:
        return template.render(
            [_USER, {"role": "assistant", **answer}], add_generation_prompt=False
        )
    except UserError:
        return ""

"""A row as messages, before the chat template renders it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from blossomtune.files import to_canonical_json
from blossomtune.modeling.chat_template import ChatMessage


@dataclass(frozen=True)
class Conversation:
    """Messages of a row.

    Attributes:
        messages: Messages up to the last one that is learnt.
        learnt: Indices of the assistant's messages that have a loss, ascending, at least one.
        tools: Definitions of the tools that the assistant may call, as JSON schemas, or None.
        references: Other right answers than the last message, for the evaluation.
    """

    messages: Sequence[ChatMessage]
    learnt: Sequence[int]
    tools: Sequence[dict[str, Any]] | None = None
    references: Sequence[str] = field(default=())

    @property
    def question(self) -> str:
        """Return what the user said last before the last answer that is learnt."""
        earlier = reversed(self.messages[: self.learnt[-1]])
        return next((m["content"] or "" for m in earlier if m["role"] == "user"), "")

    @property
    def tool_calls(self) -> str:
        """Return the calls in the last answer as JSON, a list of name and arguments, or ""."""
        calls = self.messages[self.learnt[-1]].get("tool_calls")
        return to_canonical_json([call["function"] for call in calls]) if calls else ""


def list_message_texts(message: ChatMessage) -> list[tuple[str, str]]:
    """List the texts of a message that a chat template should write.

    Args:
        message: A message.

    Returns:
        Pairs of field and text: content, reasoning_content, name, tool_calls. Ids of calls are
        left out, since they only link a result to its call.
    """
    thought, content = split_thought(message["content"] or "")
    reasoning = message.get("reasoning_content")
    texts = [("content", content), ("reasoning_content", thought)]
    if reasoning is not None:
        texts.append(("reasoning_content", reasoning))
    if message["role"] != "tool" and "name" in message:
        texts.append(("name", message["name"]))
    for call in message.get("tool_calls", ()):
        function = call["function"]
        leaves = [function["name"], *_list_leaves(function["arguments"])]
        texts.extend(("tool_calls", text) for text in leaves)
    return [(name, text.strip()) for name, text in texts if text.strip()]


def list_tool_texts(tools: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """List the texts of tool definitions: names and descriptions, also of parameters.

    Args:
        tools: JSON schemas of tools.

    Returns:
        Pairs of "tools" and text.
    """
    return [("tools", text.strip()) for tool in tools for text in _list_schema_texts(tool)]


def split_thought(content: str) -> tuple[str, str]:
    """Split ``<think>…</think>`` off the start of a content, as chat templates do.

    A thought without its opening tag counts, too, since some prompts end with that tag.

    Args:
        content: Text of a message.

    Returns:
        Thought and rest; the thought is empty if there is none.
    """
    thought, closing, rest = content.partition("</think>")
    before, opening, inside = thought.partition("<think>")
    if not closing or (before.strip() and opening) or "</think>" in rest:
        return "", content
    return (inside if opening else thought), rest


def _list_leaves(value: Any) -> Iterator[str]:
    """Yield keys and values of a JSON value, numbers as JSON."""
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _list_leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _list_leaves(item)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


def _list_schema_texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("name", "description") and isinstance(item, str) and item.strip():
                yield item
            elif key == "properties" and isinstance(item, dict):
                yield from item
                for schema in item.values():
                    yield from _list_schema_texts(schema)
            else:
                yield from _list_schema_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _list_schema_texts(item)

"""Compare the tool calls of an answer with the right ones."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

ToolCall = dict[str, Any]
"""``name`` and ``arguments`` of a call."""


def tool_call_match(answer: str, right_calls: str) -> float:
    """Return 1 if an answer makes the right calls, in any order.

    Args:
        answer: A generated answer.
        right_calls: JSON list of ``name`` and ``arguments``.

    Returns:
        1 if names and arguments of all calls are equal, else 0.
    """
    return float(_sort_calls(parse_tool_calls(answer)) == _sort_calls(json.loads(right_calls)))


def parse_tool_calls(text: str) -> list[ToolCall]:
    """Return the calls in a text.

    A call is a JSON object with ``name`` and ``arguments`` (or ``parameters``), as most chat
    templates write it; a name and the JSON object of the arguments (Mistral Small); or
    ``name(key=value)`` in a Python list (Llama 4, LFM2).

    Args:
        text: A generated or right answer.

    Returns:
        The calls in their order.
    """
    calls = []
    for before, value in _iter_json(text):
        name = re.search(r"[A-Za-z_][\w.-]*$", before)
        if name and isinstance(value, dict):
            value = {"name": name[0], "arguments": value}
        calls += _list_calls(value)
    return calls or _parse_python_calls(text)


def _iter_json(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the outermost JSON objects and lists in a text, after the text before each."""
    decoder, position, end = json.JSONDecoder(), 0, 0
    while position < len(text):
        starts = [i for i in (text.find("{", position), text.find("[", position)) if i >= 0]
        if not starts:
            return
        position = min(starts)
        before = text[end:position]
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError:
            position += 1
        except RecursionError:  # no answer nests so deeply
            return
        else:
            position = end
            yield before, value


def _list_calls(value: Any) -> list[ToolCall]:
    if isinstance(value, list):
        return [call for item in value for call in _list_calls(item)]
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("function"), dict):
        value = value["function"]
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return []
    if not isinstance(value.get("name"), str) or not isinstance(arguments, dict):
        return []
    return [{"name": value["name"], "arguments": arguments}]


def _parse_python_calls(text: str) -> list[ToolCall]:
    """Return the calls of a Python list; none if the text from "[" to "]" is no such list."""
    source = text[text.find("[") : text.rfind("]") + 1]
    try:
        calls = ast.parse(source, mode="eval").body
        return [
            {
                "name": ast.unparse(call.func),
                "arguments": {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg},
            }
            for call in getattr(calls, "elts", [])
            if isinstance(call, ast.Call)
        ]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _sort_calls(calls: list[ToolCall]) -> list[str]:
    return sorted(json.dumps(call, sort_keys=True, default=str) for call in calls)

"""Parse the turns of a conversation: role, content, thought, tool calls and weight."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from blossomtune.data.tokenization.tool_calls import parse_tool_calls
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage

_CALL = "call"
# names of speakers in data sets, in lower case
_ALIASES_BY_ROLE = {
    "user": ("user", "human", "prompter"),
    "assistant": (
        *("assistant", "gpt", "model", "bot", "chatbot", "ai"),
        *("chatgpt", "bard", "bing", "claude"),
    ),
    "system": ("system", "developer"),
    "tool": (
        *("tool", "function", "ipython", "observation", "function_response", "tool_response"),
        "function-response",
    ),
    _CALL: ("function_call", "tool_call", "tool_calls", "function-call"),
}
ROLE_BY_ALIAS = {name: role for role, names in _ALIASES_BY_ROLE.items() for name in names}
"""Role per known name of a speaker; ``call`` is the assistant calling a tool."""

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "thought")
"""Fields of a turn with the thought before its content."""

TURN_FIELDS = frozenset(
    (
        *("role", "from", "content", "value", "name", "tool_calls", "function_call"),
        *(*REASONING_FIELDS, "tool_call_id", "weight", "train"),
    )
)
"""Fields of a turn that are read."""


class Turn(NamedTuple):
    """A parsed turn.

    Attributes:
        message: The message for the chat template.
        is_learnt: Whether the row asks for a loss on it: the assistant's turns by default.
    """

    message: ChatMessage
    is_learnt: bool


def parse_turns(column: str, cell: Any) -> list[Turn]:
    """Parse a cell with a list of turns.

    Args:
        column: The cell's column, for errors.
        cell: Turns with ``role`` and ``content``, or ``from`` and ``value``.

    Returns:
        The turns. Texts are not changed.

    Raises:
        UserError: If it is no such list.
    """
    if isinstance(cell, str):
        hint = "if it is JSON, write the turns as such into the file"
        raise UserError(f"{column}: text, and not a list of turns", hint)
    if not isinstance(cell, list | tuple):
        raise UserError(f"{column}: {describe_type(cell)}, and not a list of turns")
    return [_parse_turn(f"turn {i} of {column}", item) for i, item in enumerate(cell)]


def _parse_turn(location: str, turn: Any) -> Turn:
    if not isinstance(turn, Mapping):
        raise UserError(f"{location}: {describe_type(turn)}, and not a speaker and what is said")
    speaker = _get_only(location, turn, "role", "from")
    content = _get_only(location, turn, "content", "value")
    role = ROLE_BY_ALIAS.get(str(speaker).strip().lower())
    if role is None:
        raise UserError(f"{location}: no known speaker: {speaker!r}")
    calls = _get_only(location, turn, "tool_calls", "function_call")
    if role == _CALL:
        role, calls, content = "assistant", content, None
    parsed_calls = parse_tool_calls(f"{location}: tool_calls", calls) if calls else []
    if parsed_calls and role != "assistant":
        raise UserError(f"{location}: a turn of {speaker!r} with tool calls; only the model calls")
    message: ChatMessage = {"role": role, "content": None}
    if content is not None or not parsed_calls:
        message["content"] = _parse_content(location, content)
    if parsed_calls:
        message["tool_calls"] = parsed_calls
    message |= _parse_optional_texts(location, turn)
    return Turn(message, _parse_weight(location, turn, role))


def _parse_content(location: str, content: Any) -> str:
    """Return a content, also one in parts of type text."""
    if isinstance(content, list | tuple):
        parts = [part for part in content if isinstance(part, Mapping)]
        kinds = {str(part.get("type") or "text") for part in parts}
        if len(parts) == len(content) and kinds <= {"text"}:
            content = "".join(_parse_content(location, part.get("text")) for part in parts)
        elif other := sorted(kinds - {"text"}):
            raise UserError(f"{location}: a part of type {other[0]!r}; only text can be learnt")
    if not isinstance(content, str):
        raise UserError(f"{location}: {describe_type(content)} is not text")
    return content


def _parse_optional_texts(location: str, turn: Mapping[str, Any]) -> dict[str, str]:
    texts = {
        "reasoning_content": _get_only(location, turn, *REASONING_FIELDS),
        "name": turn.get("name"),
        "tool_call_id": turn.get("tool_call_id"),
    }
    for field, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise UserError(f"{location}: {field}: {describe_type(text)} is not text")
    return {field: text for field, text in texts.items() if text}


def _parse_weight(location: str, turn: Mapping[str, Any], role: str) -> bool:
    """Return whether a turn is learnt: the assistant's, unless weight is 0 or train is false."""
    weight, train = turn.get("weight"), turn.get("train")
    if weight not in (None, 0, 1):
        raise UserError(f"{location}: weight: {weight!r} is not allowed; allowed: 0 or 1")
    if train not in (None, False, True):
        raise UserError(f"{location}: train: {train!r} is not allowed; allowed: true or false")
    if weight is not None and train is not None and bool(weight) != bool(train):
        raise UserError(f"{location}: weight {weight!r} and train {train!r} contradict each other")
    value = train if weight is None else weight
    if role != "assistant":
        if value:
            key = "train" if weight is None else "weight"
            raise UserError(
                f"{location}: {key}: {value!r} on a turn of role {role!r}; only the "
                "assistant's turns are learnt",
                f"leave {key} out there",
            )
        return False
    return value is None or bool(value)


def _get_only(location: str, turn: Mapping[str, Any], *keys: str) -> Any:
    """Return the value of fields that mean the same; raise UserError if they differ."""
    values = {key: turn[key] for key in keys if turn.get(key) is not None}
    filled = {key: value for key, value in values.items() if value or value == 0}
    (first, value), *others = (filled or values or {"": None}).items()
    for key, other in others:
        if filled and other != value:
            raise UserError(
                f"{location}: {first} and {key} mean the same and differ: {value!r}, {other!r}",
                "keep one of them; ignore_columns can leave the other out",
            )
    return value


def describe_type(value: Any) -> str:
    """Return the type of a value, for messages."""
    return "null" if value is None else f"a value of type {type(value).__name__}"

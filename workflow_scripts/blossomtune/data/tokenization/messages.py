"""Conversion of rows to chat messages or plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

from blossomtune.artifacts.tokenized_manifest import RowFormat
from blossomtune.data.templates import Template
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage

# names of speakers in data sets, in lower case
_ALIASES_BY_ROLE = {
    "user": ("user", "human", "prompter"),
    "assistant": (
        *("assistant", "gpt", "model", "bot", "chatbot", "ai"),
        *("chatgpt", "bard", "bing", "claude"),
    ),
    "system": ("system", "developer"),
    "tool": (
        *("tool", "function", "ipython", "observation", "function_call", "function_response"),
        *("tool_call", "tool_calls", "tool_response", "function-call", "function-response"),
    ),
}
ROLE_BY_ALIAS = {name: role for role, names in _ALIASES_BY_ROLE.items() for name in names}
"""Role per known name of a speaker."""


class MessageBuilder:
    """Builder of messages or text from the rows of one format.

    Args:
        row_format: the rows' format.

    Raises:
        UserError: if one of its templates is not valid.
    """

    def __init__(self, row_format: RowFormat) -> None:
        self._column, self._is_text = row_format.column, row_format.name == "text"
        self._templates = {
            key: Template(key, source) for key, source in row_format.templates.items()
        }

    def select_columns(self, available: Sequence[str]) -> list[str]:
        """Select the available columns that are read; all if one is missing, for the error."""
        used = {self._column} if self._column is not None else set()
        for template in self._templates.values():
            used |= template.find_columns(available)
        return [c for c in available if c in used] if used <= set(available) else list(available)

    def build_messages(self, row: Mapping[str, Any]) -> list[ChatMessage] | str:
        """Build the messages or the text of a row.

        Args:
            row: value per column.

        Returns:
            Messages, the last one the assistant's; or plain text.

        Raises:
            UserError: if the row has no valid messages or text.
        """
        if self._is_text:
            return _require_text("text", self._read_text(row))
        system = self._render("system", row).strip() if "system" in self._templates else ""
        system_messages = [{"role": "system", "content": system}] if system else []
        if self._column is not None:
            messages = parse_conversation(self._column, _get_cell(row, self._column))
            return messages if messages[0]["role"] == "system" else system_messages + messages
        prompt, completion = self._render("prompt", row), self._render("completion", row)
        return [
            *system_messages,
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": _require_text("completion", completion)},
        ]

    def _render(self, key: str, row: Mapping[str, Any]) -> str:
        try:
            return self._templates[key].render(row, "row")
        except UserError as error:  # the caller adds the row
            raise UserError(str(error).removeprefix("row: ")) from None

    def _read_text(self, row: Mapping[str, Any]) -> str:
        if self._column is None:
            return self._render("text", row)
        text = _get_cell(row, self._column)
        if not isinstance(text, str):
            raise UserError(f"{self._column}: {_describe_type(text)} is not text")
        return text


def parse_conversation(column: str, cell: Any) -> list[ChatMessage]:
    """Parse a cell with a list of messages, up to the assistant's last message.

    Args:
        column: the cell's column, for errors.
        cell: messages with ``role`` and ``content``, or ``from`` and ``value``.

    Returns:
        Stripped messages of system, user and assistant, without empty system messages.

    Raises:
        UserError: if it is no such list, a message is a tool's, or the assistant says nothing.
    """
    if isinstance(cell, str):
        hint = "if it is JSON, write the turns as such into the file"
        raise UserError(f"{column}: text, and not a list of turns", hint)
    if not isinstance(cell, list | tuple):
        raise UserError(f"{column}: {_describe_type(cell)}, and not a list of turns")
    messages = [_parse_message(f"turn {i} of {column}", item) for i, item in enumerate(cell)]
    roles = [message["role"] for message in messages]
    answers = [i for i, role in enumerate(roles) if role == "assistant"]
    if "user" not in roles or not answers or answers[-1] < roles.index("user"):
        raise UserError(f"{column}: the model answers no user's turn")
    for i in answers:
        _require_text(f"turn {i} of {column}", messages[i]["content"])
    return [m for m in messages[: answers[-1] + 1] if m["content"] or m["role"] != "system"]


def _parse_message(location: str, message: Any) -> ChatMessage:
    if not isinstance(message, Mapping):
        raise UserError(
            f"{location}: {_describe_type(message)}, and not a speaker and what is said"
        )
    name = _get_either(message, "role", "from")
    role = ROLE_BY_ALIAS.get(str(name).strip().lower())
    if role is None:
        raise UserError(f"{location}: no known speaker: {name!r}")
    if role == "tool":
        raise UserError(f"{location}: a turn of {name!r}; tools are not supported")
    content = _get_either(message, "content", "value")
    if not isinstance(content, str):
        raise UserError(f"{location}: {_describe_type(content)} is not text")
    return {"role": role, "content": content.strip()}


def _get_either(message: Mapping[str, Any], key: str, fallback_key: str) -> Any:
    value = message.get(key)
    return message.get(fallback_key) if value is None else value


def _get_cell(row: Mapping[str, Any], column: str) -> Any:
    if column not in row:
        raise UserError(f"{column}: there is no such column; columns: {', '.join(row)}")
    return row[column]


def _require_text(key: str, text: str) -> str:
    if not text.strip():
        raise UserError(
            f"{key}: the text is empty, so there is nothing to learn from it",
            "drop such rows from the data, or mend the template",
        )
    return text


def _describe_type(value: Any) -> str:
    return "null" if value is None else f"a value of type {type(value).__name__}"

"""A row as the turns of a conversation, or as plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import meta
from jinja2.sandbox import SandboxedEnvironment

from blossomtune.data.templates import Template
from blossomtune.data.tokenization.formats import RowFormat
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage

# every name by which data sets call a speaker, in lower case
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
"""The role that each known name of a speaker stands for."""


class MessageBuilder:
    """Makes turns or text of rows, all of one shape."""

    def __init__(self, row_format: RowFormat) -> None:
        """Compiles the shape's templates.

        Raises:
            UserError: where one is not valid.
        """
        self._column, self._is_text = row_format.column, row_format.name == "text"
        self._templates = {
            key: Template(key, source) for key, source in row_format.templates.items()
        }

    def select_columns(self, available: Sequence[str]) -> list[str]:
        """Of the columns that there are, those that are read.

        All of them where one is missing, so that a message can list them.
        """
        used = {self._column} if self._column is not None else set()
        for template in self._templates.values():
            used |= meta.find_undeclared_variables(SandboxedEnvironment().parse(template.source))
        return [c for c in available if c in used] if used <= set(available) else list(available)

    def build_messages(self, row: Mapping[str, Any]) -> list[ChatMessage] | str:
        """The turns of a row, of which the last is the model's; plain text as it is.

        Raises:
            UserError: where there is nothing to learn from the row, and why.
        """
        if self._is_text:
            return _require_text("text", self._read_text(row))
        system = self._render("system", row).strip() if "system" in self._templates else ""
        first = [{"role": "system", "content": system}] if system else []
        if self._column is not None:
            turns = parse_conversation(self._column, _get_cell(row, self._column))
            return turns if turns[0]["role"] == "system" else first + turns
        prompt, answer = self._render("prompt", row), self._render("completion", row)
        return [
            *first,
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": _require_text("completion", answer)},
        ]

    def _render(self, key: str, row: Mapping[str, Any]) -> str:
        try:
            return self._templates[key].render(row, "row")
        except UserError as error:  # which row it is, the caller knows
            raise UserError(str(error).removeprefix("row: ")) from None

    def _read_text(self, row: Mapping[str, Any]) -> str:
        if self._column is None:
            return self._render("text", row)
        text = _get_cell(row, self._column)
        if not isinstance(text, str):
            raise UserError(f"{self._column}: {_describe_type(text)} is not text")
        return text


def parse_conversation(column: str, cell: Any) -> list[ChatMessage]:
    """A cell of turns, each role and content or from and value, up to the model's last turn.

    Args:
        column: where it is from, for messages.
        cell: the turns.

    Returns:
        Turns of system, user and assistant, stripped; empty system turns are left out.

    Raises:
        UserError: where it is not that, a turn is a tool's, or the model says nothing.
    """
    if isinstance(cell, str):
        hint = "if it is JSON, write the turns as such into the file"
        raise UserError(f"{column}: text, and not a list of turns", hint)
    if not isinstance(cell, list | tuple):
        raise UserError(f"{column}: {_describe_type(cell)}, and not a list of turns")
    turns = [_parse_message(f"turn {i} of {column}", turn) for i, turn in enumerate(cell)]
    answers = [i for i, turn in enumerate(turns) if turn["role"] == "assistant"]
    asked = next((i for i, turn in enumerate(turns) if turn["role"] == "user"), len(turns))
    if not answers or answers[-1] < asked:
        raise UserError(f"{column}: the model answers no user's turn")
    for i in answers:
        _require_text(f"turn {i} of {column}", turns[i]["content"])
    return [t for t in turns[: answers[-1] + 1] if t["content"] or t["role"] != "system"]


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

"""Conversion of rows to conversations or plain text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blossomtune.artifacts.tokenized_manifest import RowFormat
from blossomtune.data.templates import Template
from blossomtune.data.tokenization import system_turn
from blossomtune.data.tokenization.conversation import Conversation, split_thought
from blossomtune.data.tokenization.row_turns import (
    TurnReader,
    get_cell,
    require_string,
    require_text,
)
from blossomtune.data.tokenization.tool_calls import parse_tools
from blossomtune.data.tokenization.turns import Turn, describe_type
from blossomtune.errors import UserError
from blossomtune.modeling.control_tokens import ControlTokens


class MessageBuilder:
    """Builder of conversations or texts from the rows of one format.

    Args:
        row_format: the rows' format.
        config: a preprocessing block.
        control_tokens: the tokenizer's control tokens.

    Raises:
        UserError: if one of its templates is not valid.
    """

    def __init__(
        self, row_format: RowFormat, config: Mapping[str, Any], control_tokens: ControlTokens
    ) -> None:
        self._columns, self._is_text = row_format.columns, row_format.name == "text"
        self._templates = {
            key: Template(key, source) for key, source in row_format.templates.items()
        }
        self._config, self._control_tokens = config, control_tokens
        self._turn_reader = TurnReader(self._columns, self._render, config["ignore_columns"])

    @property
    def messages_column(self) -> str:
        """Column of the messages, for hints."""
        columns = self._columns
        return columns.get("messages") or columns.get("answer") or "messages"

    def find_columns(self, available: Sequence[str]) -> set[str]:
        """Return the columns that are read, also those that do not exist."""
        used = set(self._columns.values())
        for template in self._templates.values():
            used |= template.find_columns(available)
        return used

    def select_columns(self, available: Sequence[str]) -> list[str]:
        """Select the available columns that are read; all if one is missing, for the error."""
        used = self.find_columns(available)
        return [c for c in available if c in used] if used <= set(available) else list(available)

    def build_conversation(self, row: Mapping[str, Any]) -> Conversation | str:
        """Build the conversation or the text of a row.

        Args:
            row: value per column.

        Returns:
            The conversation, with at least one learnt message; or plain text.

        Raises:
            UserError: if the row has no valid messages or text, or control tokens that
                ``control_tokens`` does not allow.
        """
        if self._is_text:
            return self._convert_text("text", require_text("text", self._read_text(row)))
        turns, references = self._turn_reader.read(row)
        learnt = self._select_learnt(turns)
        messages = [turn.message for turn in turns[: learnt[-1] + 1]]
        messages, learnt = system_turn.drop_empty_system_turns(messages, learnt)
        messages, learnt = system_turn.add_system_turn(
            self._read_system(row), messages, learnt, is_row_text="system" in self._columns
        )
        if self._config["system_role"] == "fold":
            messages, learnt = system_turn.fold_system_turn(messages, learnt)
        tools = parse_tools(
            "tools", row[self._columns["tools"]] if "tools" in self._columns else None
        )
        return Conversation(
            [self._convert(f"turn {i}", message) for i, message in enumerate(messages)],
            learnt,
            self._convert("tools", tools),
            [self._convert_text("answer", text) for text in references],
        )

    def _select_learnt(self, turns: Sequence[Turn]) -> list[int]:
        """Return the indices of the learnt turns: answers after the first user turn."""
        column = self.messages_column
        roles = [turn.message["role"] for turn in turns]
        first_user = roles.index("user") if "user" in roles else len(roles)
        answers = [i for i, role in enumerate(roles) if role == "assistant" and i > first_user]
        if not answers:
            raise UserError(f"{column}: the model answers no user's turn")
        learnt = [i for i in answers if turns[i].is_learnt]
        if not learnt:
            raise UserError(
                f"{column}: no answer is learnt, since all have weight 0",
                "drop such rows from the data, or set unrenderable: drop",
            )
        for i in learnt:
            message = turns[i].message
            if "tool_calls" not in message and "reasoning_content" not in message:
                text = "".join(split_thought(message["content"]))
                require_text(f"turn {i} of {column}", text)
        return learnt[-1:] if self._config["loss"] == "last_turn" else learnt

    def _read_system(self, row: Mapping[str, Any]) -> str:
        """Return the text of the configured system turn, or of the row's column."""
        if "system" in self._templates:
            return self._render("system", row).strip()
        column = self._columns.get("system")
        return require_string("system", row[column]) if column else ""

    def _convert(self, location: str, value: Any) -> Any:
        """Check or escape the control tokens in all texts of a value."""
        return _map_strings(value, lambda text: self._convert_text(location, text))

    def _convert_text(self, location: str, text: str) -> str:
        if self._config["control_tokens"] == "error" and (
            tokens := self._control_tokens.find(text)
        ):
            shown = ", ".join(map(repr, tokens[:5]))
            raise UserError(
                f"{location}: the text holds control tokens of the model: {shown}",
                "control_tokens: text writes them as plain characters",
            )
        return self._control_tokens.escape(text)

    def _render(self, key: str, row: Mapping[str, Any]) -> str:
        try:
            return self._templates[key].render(row, "row")
        except UserError as error:  # the caller adds the row
            raise UserError(str(error).removeprefix("row: ")) from None

    def _read_text(self, row: Mapping[str, Any]) -> str:
        column = self._columns.get("text")
        if column is None:
            return self._render("text", row)
        text = get_cell(row, column)
        if not isinstance(text, str):
            raise UserError(f"{column}: {describe_type(text)} is not text")
        return text


def _map_strings(value: Any, function: Callable[[str], str]) -> Any:
    """Apply a function to all strings of a JSON value, keys included."""
    if isinstance(value, str):
        return function(value)
    if isinstance(value, dict):
        return {function(key): _map_strings(item, function) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_strings(item, function) for item in value]
    return value

"""Conversion of rows to conversations or plain text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blossomtune.artifacts.tokenized_manifest import RowFormat
from blossomtune.data.templates import Template
from blossomtune.data.tokenization.conversation import Conversation
from blossomtune.data.tokenization.tool_calls import parse_tools
from blossomtune.data.tokenization.turns import Turn, describe_type, parse_turns
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage
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
        self._ignored_fields = frozenset(
            name.removeprefix(f"{column}.")
            for name in config["ignore_columns"]
            for column in self._columns.values()
            if name.startswith(f"{column}.")
        )

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
            return self._convert_text("text", _require_text("text", self._read_text(row)))
        turns, references = self._read_turns(row)
        tools = (
            parse_tools("tools", row[self._columns["tools"]]) if "tools" in self._columns else None
        )
        messages = [self._convert(f"turn {i}", turn.message) for i, turn in enumerate(turns)]
        learnt = self._select_learnt(turns)
        messages, learnt = self._add_system(row, messages[: learnt[-1] + 1], learnt)
        references = [self._convert_text("answer", text) for text in references]
        return Conversation(messages, learnt, self._convert("tools", tools), references)

    def _read_turns(self, row: Mapping[str, Any]) -> tuple[list[Turn], list[str]]:
        """Return a row's turns, and other right answers than the last turn."""
        if "messages" in self._columns:
            column = self._columns["messages"]
            return self._parse_cell(column, _get_cell(row, column)), []
        if "prompt" in self._columns:
            prompt_column, answer_column = self._columns["prompt"], self._columns["answer"]
            prompt = self._parse_cell(prompt_column, row[prompt_column], role="user")
            answers, references = self._parse_answers(answer_column, row[answer_column])
            return [turn._replace(is_learnt=False) for turn in prompt] + answers, references
        prompt_text, completion = self._render("prompt", row), self._render("completion", row)
        texts = [("user", prompt_text), ("assistant", _require_text("completion", completion))]
        messages = [{"role": role, "content": content} for role, content in texts]
        turns = [Turn(message, message["role"] == "assistant") for message in messages]
        return self._read_history(row) + turns, []

    def _parse_cell(self, column: str, cell: Any, role: str | None = None) -> list[Turn]:
        """Parse turns; with ``role`` also text, as one turn of it."""
        if role is not None and isinstance(cell, str):
            return [Turn({"role": role, "content": cell}, role == "assistant")]
        if self._ignored_fields and isinstance(cell, list):
            cell = [
                {k: v for k, v in turn.items() if k not in self._ignored_fields}
                if isinstance(turn, Mapping)
                else turn
                for turn in cell
            ]
        return parse_turns(column, cell)

    def _parse_answers(self, column: str, cell: Any) -> tuple[list[Turn], list[str]]:
        """Parse an answer: text, turns, or right answers, of which the first is learnt."""
        if isinstance(cell, list) and cell and all(isinstance(item, str) for item in cell):
            cell, references = cell[0], cell[1:]
        else:
            references = []
        return self._parse_cell(column, cell, role="assistant"), references

    def _read_history(self, row: Mapping[str, Any]) -> list[Turn]:
        """Return Alpaca's earlier turns: pairs of instruction and output."""
        column = self._columns.get("history")
        turns = []
        for i, pair in enumerate((row[column] if column else None) or ()):
            values = list(pair.values()) if isinstance(pair, Mapping) else pair
            if not isinstance(values, list) or [type(value) for value in values] != [str, str]:
                raise UserError(f"{column}[{i}]: not a pair of instruction and output")
            turns.append(Turn({"role": "user", "content": values[0]}, False))
            turns.append(Turn({"role": "assistant", "content": values[1]}, True))
        return turns

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
                _require_text(f"turn {i} of {column}", message["content"])
        return learnt[-1:] if self._config["loss"] == "last_turn" else learnt

    def _add_system(
        self, row: Mapping[str, Any], messages: list[ChatMessage], learnt: list[int]
    ) -> tuple[list[ChatMessage], list[int]]:
        """Add the configured system turn or the row's, without empty ones, and fold it."""
        text = self._render("system", row).strip() if "system" in self._templates else ""
        has_own = messages[0]["role"] == "system" and bool(messages[0]["content"].strip())
        if "system" in self._columns:
            text = _require_string("system", row[self._columns["system"]])
            if text.strip() and has_own and text.strip() != messages[0]["content"].strip():
                raise UserError(
                    "system: the column and the first turn are different system turns",
                    "ignore_columns: [system] keeps the first turn",
                )
        kept = [i for i, m in enumerate(messages) if m["role"] != "system" or m["content"].strip()]
        messages = [messages[i] for i in kept]
        learnt = [kept.index(i) for i in learnt]
        if text.strip() and not has_own:
            system = self._convert("system", {"role": "system", "content": text})
            messages, learnt = [system, *messages], [i + 1 for i in learnt]
        if self._config["system_role"] == "fold" and messages[0]["role"] == "system":
            messages, learnt = _fold_system(messages), [i - 1 for i in learnt]
        return messages, learnt

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
        text = _get_cell(row, column)
        if not isinstance(text, str):
            raise UserError(f"{column}: {describe_type(text)} is not text")
        return text


def _fold_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Write the first message, a system turn, before the text of the first user turn."""
    system, *others = messages
    first_user = next(i for i, message in enumerate(others) if message["role"] == "user")
    user = others[first_user]
    others[first_user] = user | {"content": f"{system['content']}\n\n{user['content']}"}
    return others


def _map_strings(value: Any, function: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return function(value)
    if isinstance(value, dict):
        return {function(key): _map_strings(item, function) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_strings(item, function) for item in value]
    return value


def _get_cell(row: Mapping[str, Any], column: str) -> Any:
    if column not in row:
        raise UserError(f"{column}: there is no such column; columns: {', '.join(row)}")
    return row[column]


def _require_string(key: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise UserError(f"{key}: {describe_type(value)} is not text")
    return value or ""


def _require_text(key: str, text: str) -> str:
    if not text.strip():
        raise UserError(
            f"{key}: the text is empty, so there is nothing to learn from it",
            "drop such rows from the data, or mend the template",
        )
    return text

"""Turns of a row, in one of the formats of conversations."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from blossomtune.data.tokenization.turns import Turn, describe_type, parse_turns
from blossomtune.errors import UserError


class TurnReader:
    """Reader of the turns of rows.

    Args:
        columns: columns that are read, by use.
        render: renders the template of a key for a row.
        ignored: entries of ``ignore_columns``.
    """

    def __init__(
        self,
        columns: Mapping[str, str],
        render: Callable[[str, Mapping[str, Any]], str],
        ignored: Iterable[str],
    ) -> None:
        self._columns, self._render = columns, render
        self._ignored_fields = frozenset(
            name.removeprefix(f"{column}.")
            for name in ignored
            for column in columns.values()
            if name.startswith(f"{column}.")
        )

    def read(self, row: Mapping[str, Any]) -> tuple[list[Turn], list[str]]:
        """Read a row.

        Args:
            row: value per column.

        Returns:
            Its turns, without a configured system turn, and other right answers than the last.

        Raises:
            UserError: if a cell is not valid.
        """
        columns = self._columns
        if "messages" in columns:
            return self._parse_cell(columns["messages"], get_cell(row, columns["messages"])), []
        if "prompt" in columns:
            prompt = self._parse_cell(columns["prompt"], row[columns["prompt"]], role="user")
            answers, references = self._parse_answers(columns["answer"], row[columns["answer"]])
            return [turn._replace(is_learnt=False) for turn in prompt] + answers, references
        texts = {"user": self._render("prompt", row)}
        texts["assistant"] = require_text("completion", self._render("completion", row))
        turns = [Turn({"role": r, "content": c}, r == "assistant") for r, c in texts.items()]
        return self._read_history(row) + turns, []

    def _parse_cell(self, column: str, cell: Any, role: str | None = None) -> list[Turn]:
        """Parse turns; with ``role`` also text, as one turn of it."""
        if role is not None and isinstance(cell, str):
            return [Turn({"role": role, "content": cell}, role == "assistant")]
        if self._ignored_fields and isinstance(cell, list):
            cell = [self._drop_ignored_fields(turn) for turn in cell]
        return parse_turns(column, cell)

    def _drop_ignored_fields(self, turn: Any) -> Any:
        if not isinstance(turn, Mapping):
            return turn
        return {key: value for key, value in turn.items() if key not in self._ignored_fields}

    def _parse_answers(self, column: str, cell: Any) -> tuple[list[Turn], list[str]]:
        """Parse an answer: text, turns, or right answers, of which the first is learnt."""
        references = []
        if isinstance(cell, list) and cell and all(isinstance(item, str) for item in cell):
            cell, *references = cell
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


def get_cell(row: Mapping[str, Any], column: str) -> Any:
    """Return a row's value in a column; raise UserError if there is no such column.

    Args:
        row: value per column.
        column: name of the column.

    Returns:
        The value.
    """
    if column not in row:
        raise UserError(f"{column}: there is no such column; columns: {', '.join(row)}")
    return row[column]


def require_string(key: str, value: Any) -> str:
    """Return a text, empty for null; raise UserError for other values.

    Args:
        key: name of the value, for the error.
        value: value of a row.

    Returns:
        The text.
    """
    if value is not None and not isinstance(value, str):
        raise UserError(f"{key}: {describe_type(value)} is not text")
    return value or ""


def require_text(key: str, text: str) -> str:
    """Return a text; raise UserError if it is empty.

    Args:
        key: name of the text, for the error.
        text: text to learn.

    Returns:
        The text.
    """
    if not text.strip():
        raise UserError(
            f"{key}: the text is empty, so there is nothing to learn from it",
            "drop such rows from the data, or mend the template",
        )
    return text

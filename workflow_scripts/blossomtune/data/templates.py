"""Sandboxed Jinja2 templates and expressions over rows."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from jinja2 import TemplateSyntaxError, UndefinedError

from blossomtune.data.columns import describe_missing_column
from blossomtune.data.jinja_environment import compile_expression, compile_template
from blossomtune.data.template_columns import (
    ROW,
    ReadColumns,
    find_read_columns,
    find_unusual_names,
    format_row_access,
)
from blossomtune.data.template_output import OutputError, describe_output
from blossomtune.errors import UserError, abbreviate, find_closest_match
from blossomtune.work_limits import WorkLimitError, run_limited

Result = TypeVar("Result")

_MAX_REASON = 500
"""Characters of an error, whose text a template can choose."""


class _AmbiguousRowError(Exception):
    """The name ``row`` could be meant as the whole row, or as a column."""


class _CompiledSource:
    """Compiled Jinja2 source of the configuration.

    Args:
        key: the configuration key that contains it, for messages.
        source: its text.

    Attributes:
        key: the configuration key that contains it.
        source: its text.

    Raises:
        UserError: if it is not valid Jinja2.
        WorkLimitError: if its constants take too much time or memory.
    """

    _kind = "template"

    def __init__(self, key: str, source: str) -> None:
        self.key, self.source = key, source
        try:
            # limited, because Jinja2 computes constants when it compiles
            self._run_compiled, self._read_columns = run_limited(key, self._analyze)
        except TemplateSyntaxError as error:
            raise UserError(
                f"{key}: not a valid {self._kind}: {error.message} "
                f"(line {error.lineno} of {source!r})"
            ) from None
        except (RecursionError, SyntaxError):  # of Python, for which Jinja2 writes code
            raise UserError(
                f"{key}: not a valid {self._kind}: nested too deeply: {abbreviate(source)}"
            ) from None
        uses_row = self._read_columns.uses_row
        self._run = self._run_with_row if uses_row else self._run_compiled

    def find_columns(self, available: Iterable[str]) -> set[str]:
        """Find the columns that are read, with those that do not exist.

        Args:
            available: the columns that exist.

        Returns:
            The names of columns; all available ones if any may be read.
        """
        return self._read_columns.select(available)

    def _analyze(self) -> tuple[Callable[..., Any], ReadColumns]:
        columns = find_read_columns(self._format_template(self.source))
        return self._compile(self.source), columns

    def _compile(self, source: str) -> Callable[..., Any]:
        return compile_template(source)

    def _run_with_row(self, values: Mapping[str, Any]) -> Any:
        """Run with one more name: ``row``, the mapping of all columns."""
        if self._read_columns.reads_whole_row and ROW in values:
            raise _AmbiguousRowError
        return self._run_compiled(values, row=values)

    def _run_limited(
        self, function: Callable[..., Result], values: Mapping[str, Any], location: str
    ) -> Result:
        try:
            return run_limited(self.key, function, values)
        except WorkLimitError:
            raise
        except Exception as error:  # a template can raise anything
            failure = self._make_error(error, values, location)
        raise failure  # not from the error, which may hold a large value

    def _make_error(self, error: Exception, columns: Mapping[str, Any], location: str) -> UserError:
        reason, hint = f"{type(error).__name__}: {str(error)[:_MAX_REASON]}", None
        if isinstance(error, UndefinedError):
            unknown = sorted(self.find_columns(columns) - set(columns))
            reason = str(error)[:_MAX_REASON]
            if unknown:
                reason = describe_missing_column(unknown[0], list(columns))
            hint = self._make_name_hint(unknown, columns)
        elif isinstance(error, OutputError):
            reason, hint = describe_output(error.value, columns)
        elif isinstance(error, _AmbiguousRowError):
            reason = "`row` is the whole row here, and there is a column 'row' as well"
            hint = f"write {self._format_access(ROW)} for the column, or rename it"
        return UserError(f"{location}: {self.key}: {reason}\n  {self._kind}: {self.source}", hint)

    def _make_name_hint(self, unknown: list[str], columns: Iterable[str]) -> str | None:
        """Return how to read a column whose name is no name in Jinja, if there is one."""
        unusual = find_unusual_names(columns)
        if not unusual:
            return None
        meant = unknown[0] if unknown else self.source.strip("{} ")
        extended = (name for name in unusual if name.startswith(meant))
        match = next(extended, None) or find_closest_match(meant, unusual)
        access = self._format_access(match or unusual[0])
        return f"write {access} for a column whose name is no plain word"

    def _format_access(self, name: str) -> str:
        return "{{ " + format_row_access(name) + " }}"

    def _format_template(self, source: str) -> str:
        return source


class Template(_CompiledSource):
    """A template of the configuration, which renders text from a row."""

    def render(self, values: Mapping[str, Any], location: str) -> str:
        """Render one row.

        Args:
            values: the row's value per column.
            location: the row's name in messages.

        Returns:
            The text.

        Raises:
            UserError: if rendering fails, with location, key, template and columns.
            WorkLimitError: if it takes too much time or memory, or writes too much.
        """
        return self._run_limited(self._render, values, location)

    def _render(self, values: Mapping[str, Any]) -> str:
        return str(self._run(values))


class Expression(_CompiledSource):
    """An expression of the configuration, which is true or false for a row."""

    _kind = "expression"

    def evaluate(self, values: Mapping[str, Any], location: str) -> bool:
        """Return the expression's truth value for one row; 0, "" and null are false.

        Args:
            values: the row's value per column.
            location: the row's name in messages.

        Returns:
            The truth value.

        Raises:
            UserError: if evaluation fails, with location, key, expression and columns.
            WorkLimitError: if it takes too much time or memory.
        """
        return self._run_limited(self._evaluate, values, location)

    def _evaluate(self, values: Mapping[str, Any]) -> bool:
        return bool(self._run(values))

    def _compile(self, source: str) -> Callable[..., Any]:
        return compile_expression(source)

    def _format_template(self, source: str) -> str:
        return "{{ " + source + " }}"

    def _format_access(self, name: str) -> str:
        return format_row_access(name)

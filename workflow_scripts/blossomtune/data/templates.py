"""Sandboxed Jinja2 templates and expressions over rows."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from blossomtune.data.columns import describe_missing_column
from blossomtune.errors import UserError


class _NullError(Exception):
    """A template writes a null value; "None" in a text would go unnoticed."""


def _reject_null(value: Any) -> Any:
    if value is None:
        raise _NullError("a value that it writes is null")
    return value


class _Environment(ImmutableSandboxedEnvironment):
    def make_globals(self, d: Any) -> dict[str, Any]:
        # Jinja's ChainMap would take most of the time of a short template
        return dict(self.globals)


@functools.cache
def _get_environment() -> _Environment:
    # no escaping: models read the texts, not browsers
    return _Environment(undefined=StrictUndefined, finalize=_reject_null)


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
    """

    _kind = "template"

    def __init__(self, key: str, source: str) -> None:
        self.key, self.source = key, source
        try:
            self._run = self._compile(source)
        except TemplateSyntaxError as error:
            raise UserError(
                f"{key}: not a valid {self._kind}: {error.message} "
                f"(line {error.lineno} of {source!r})"
            ) from None

    def _compile(self, source: str) -> Callable[[Mapping[str, Any]], Any]:
        return _get_environment().from_string(source).render

    def _make_error(self, error: Exception, values: Mapping[str, Any], location: str) -> UserError:
        reason, hint = f"{type(error).__name__}: {error}", None
        if isinstance(error, UndefinedError):
            reason = self._describe_undefined_name(values) or str(error)
        elif isinstance(error, _NullError):
            reason, hint = str(error), "write {{ column or '' }} where nothing is meant"
        return UserError(f"{location}: {self.key}: {reason}\n  {self._kind}: {self.source}", hint)

    def _describe_undefined_name(self, values: Iterable[str]) -> str | None:
        """Describe a name that is no column; None if something inside a column is undefined."""
        columns = list(values)
        names = meta.find_undeclared_variables(_get_environment().parse(self._get_template_text()))
        unknown = sorted(names - set(columns))
        return describe_missing_column(unknown[0], columns) if unknown else None

    def _get_template_text(self) -> str:
        return self.source


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
        """
        try:
            return str(self._run(values))
        except Exception as error:  # a template can raise anything
            raise self._make_error(error, values, location) from None


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
        """
        try:
            return bool(self._run(values))
        except Exception as error:  # an expression can raise anything
            raise self._make_error(error, values, location) from None

    def _compile(self, source: str) -> Callable[[Mapping[str, Any]], Any]:
        return _get_environment().compile_expression(source, undefined_to_none=False)

    def _get_template_text(self) -> str:
        return "{{ " + self.source + " }}"

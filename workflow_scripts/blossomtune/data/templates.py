"""Jinja2 templates and expressions over rows: sandboxed, strict, compiled once."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from blossomtune.data.columns import describe_missing_column
from blossomtune.errors import UserError


class _NullError(Exception):
    """A template writes a value that is not there; "None" in a text would pass unnoticed."""


def _reject_null(value: Any) -> Any:
    if value is None:
        raise _NullError("a value that it writes is null")
    return value


class _Environment(ImmutableSandboxedEnvironment):
    def make_globals(self, d: Any) -> dict[str, Any]:
        # a dictionary in place of Jinja's ChainMap, which makes most of a short text's time
        return dict(self.globals)


@functools.cache
def _get_environment() -> _Environment:
    # the texts are for models, not for browsers: no escaping
    return _Environment(undefined=StrictUndefined, finalize=_reject_null)


class _CompiledSource:
    """Something of the configuration that was compiled, and what to say where it fails.

    Attributes:
        key: the configuration's key that holds it.
        source: its text.
    """

    _kind = "template"

    def __init__(self, key: str, source: str) -> None:
        """Compiles it.

        Args:
            key: the configuration's key that holds it, for messages.
            source: its text.

        Raises:
            UserError: where it is not valid Jinja2.
        """
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
        """Which name is not a column, or None where something inside a column is missing."""
        known = list(values)
        names = meta.find_undeclared_variables(_get_environment().parse(self._get_template_text()))
        unknown = sorted(names - set(known))
        return describe_missing_column(unknown[0], known) if unknown else None

    def _get_template_text(self) -> str:
        return self.source


class Template(_CompiledSource):
    """One template of the configuration."""

    def render(self, values: Mapping[str, Any], location: str) -> str:
        """The text of one row.

        Args:
            values: the row, column by column.
            where: which row it is, for messages.

        Raises:
            UserError: that names row, key, template and the columns that there are.
        """
        try:
            return self._run(values)
        except Exception as error:  # whatever the template does with the row's values
            raise self._make_error(error, values, location) from None


class Expression(_CompiledSource):
    """One expression of the configuration, which is true or false of a row."""

    _kind = "expression"

    def evaluate(self, values: Mapping[str, Any], location: str) -> bool:
        """Whether it is true of one row, as Python sees truth: 0, "" and null are not.

        Args:
            values: the row, column by column.
            where: which row it is, for messages.

        Raises:
            UserError: that names row, key, expression and the columns that there are.
        """
        try:
            return bool(self._run(values))
        except Exception as error:  # whatever the expression does with the row's values
            raise self._make_error(error, values, location) from None

    def _compile(self, source: str) -> Callable[[Mapping[str, Any]], Any]:
        return _get_environment().compile_expression(source, undefined_to_none=False)

    def _get_template_text(self) -> str:
        return "{{ " + self.source + " }}"

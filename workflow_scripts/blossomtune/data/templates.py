"""Jinja2 templates and expressions over rows: sandboxed, strict, compiled once."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from blossomtune.data.columns import missing
from blossomtune.errors import UserError


class _NullError(Exception):
    """A template writes a value that is not there; "None" in a text would pass unnoticed."""


def _present(value: Any) -> Any:
    if value is None:
        raise _NullError("a value that it writes is null")
    return value


class _Environment(ImmutableSandboxedEnvironment):
    def make_globals(self, d: Any) -> dict[str, Any]:
        # a dictionary in place of Jinja's ChainMap, which makes most of a short text's time
        return dict(self.globals)


@functools.cache
def _environment() -> _Environment:
    # the texts are for models, not for browsers: no escaping
    return _Environment(undefined=StrictUndefined, finalize=_present)


class _Compiled:
    """Something of the configuration that was compiled, and what to say where it fails.

    Attributes:
        key: the configuration's key that holds it.
        source: its text.
    """

    _what = "template"

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
                f"{key}: not a valid {self._what}: {error.message} "
                f"(line {error.lineno} of {source!r})"
            ) from None

    def _compile(self, source: str) -> Callable[[Mapping[str, Any]], Any]:
        return _environment().from_string(source).render

    def _failed(self, error: Exception, values: Mapping[str, Any], where: str) -> UserError:
        reason, hint = f"{type(error).__name__}: {error}", None
        if isinstance(error, UndefinedError):
            reason = self._undefined(values) or str(error)
        elif isinstance(error, _NullError):
            reason, hint = str(error), "write {{ column or '' }} where nothing is meant"
        return UserError(f"{where}: {self.key}: {reason}\n  {self._what}: {self.source}", hint)

    def _undefined(self, values: Iterable[str]) -> str | None:
        """Which name is not a column, or None where something inside a column is missing."""
        known = list(values)
        names = meta.find_undeclared_variables(_environment().parse(self._text()))
        unknown = sorted(names - set(known))
        return missing(unknown[0], known) if unknown else None

    def _text(self) -> str:
        return self.source


class Template(_Compiled):
    """One template of the configuration."""

    def render(self, values: Mapping[str, Any], where: str) -> str:
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
            raise self._failed(error, values, where) from None


class Expression(_Compiled):
    """One expression of the configuration, which is true or false of a row."""

    _what = "expression"

    def evaluate(self, values: Mapping[str, Any], where: str) -> bool:
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
            raise self._failed(error, values, where) from None

    def _compile(self, source: str) -> Callable[[Mapping[str, Any]], Any]:
        return _environment().compile_expression(source, undefined_to_none=False)

    def _text(self) -> str:
        return "{{ " + self.source + " }}"

"""Jinja2 templates over rows: sandboxed, strict, compiled once."""

import functools
from collections.abc import Iterable, Mapping
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


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    # the texts are for models, not for browsers: no escaping
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, finalize=_present)


class Template:
    """One template of the configuration."""

    def __init__(self, key: str, source: str) -> None:
        """Compiles a template.

        Args:
            key: the configuration's key that holds it, for messages.
            source: its text.

        Raises:
            UserError: where it is not valid Jinja2.
        """
        self.key, self.source = key, source
        try:
            self._template = _environment().from_string(source)
        except TemplateSyntaxError as error:
            raise UserError(
                f"{key}: not a valid template: {error.message} (line {error.lineno} of {source!r})"
            ) from None

    def render(self, values: Mapping[str, Any], where: str) -> str:
        """The text of one row.

        Args:
            values: the row, column by column.
            where: which row it is, for messages.

        Raises:
            UserError: that names row, key, template and the columns that there are.
        """
        try:
            return self._template.render(values)
        except UndefinedError as error:
            reason = self._undefined(values) or str(error)
            raise self._error(where, reason) from None
        except _NullError as error:
            hint = "write {{ column or '' }} where nothing is meant"
            raise self._error(where, str(error), hint) from None
        except Exception as error:  # whatever the template does with the row's values
            raise self._error(where, f"{type(error).__name__}: {error}") from None

    def _error(self, where: str, reason: str, hint: str | None = None) -> UserError:
        return UserError(f"{where}: {self.key}: {reason}\n  template: {self.source}", hint)

    def _undefined(self, values: Iterable[str]) -> str | None:
        """Which name is not a column, or None where something inside a column is missing."""
        known = list(values)
        names = meta.find_undeclared_variables(_environment().parse(self.source))
        unknown = sorted(names - set(known))
        return missing(unknown[0], known) if unknown else None

"""Checks of the values that a template writes: text, numbers, booleans, dates and times."""

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time, timedelta
from numbers import Number
from typing import Any

from jinja2 import Undefined, pass_eval_context
from jinja2.filters import FILTERS
from jinja2.nodes import EvalContext


class OutputError(Exception):
    """A template writes a value that is no text, such as null or a list.

    Args:
        value: the value.

    Attributes:
        value: the value.
    """

    def __init__(self, value: Any) -> None:
        super().__init__(type(value).__name__)
        self.value = value


def require_text(value: Any) -> Any:
    """Return the value; raise ``OutputError`` if Python's notation of it would be written."""
    if type(value) is str or isinstance(value, str | Number | date | time | timedelta | Undefined):
        return value
    raise OutputError(value)


def describe_output(value: Any, columns: Mapping[str, Any]) -> tuple[str, str | None]:
    """Describe a value that is no text.

    Args:
        value: the value that a template writes.
        columns: the row's value per column.

    Returns:
        What is wrong, and a hint or None.
    """
    if value is None:
        return "a value that it writes is null", "write {{ column or '' }} where nothing is meant"
    cells = {**columns, "row": columns}
    column = next((name for name, cell in cells.items() if cell is value), None)
    name = column if column is not None and column.isidentifier() else "x"
    description = f"a value of type {type(value).__name__}"
    part = f"{{{{ {name} | join(', ') }}}}"
    if isinstance(value, Mapping):
        description, part = "a mapping", f"{{{{ {name}{_format_field(value)} }}}}"
    elif isinstance(value, list | tuple):
        description = "a list"
        if value and isinstance(value[0], Mapping):
            part = f"{{% for y in {name} %}}{{{{ y{_format_field(value[0])} }}}}{{% endfor %}}"
    elif isinstance(value, bytes) or not isinstance(value, Iterable):
        part = ""
    of_column = "" if column is None or value is columns else f" (column {column!r})"
    hint = f"say which part, such as {part}, or write JSON: {{{{ {name} | tojson }}}}"
    return f"it writes {description}{of_column}, not text", hint if part else None


def _format_field(mapping: Mapping[str, Any]) -> str:
    key = next(iter(mapping), "field")
    return f".{key}" if key.isidentifier() else f"[{json.dumps(key, ensure_ascii=False)}]"


def _check_value(text_filter: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that checks the value before it converts it to text."""
    position = int(hasattr(text_filter, "jinja_pass_arg"))

    @functools.wraps(text_filter)
    def check_and_filter(*args: Any, **kwargs: Any) -> Any:
        require_text(args[position])
        return text_filter(*args, **kwargs)

    return check_and_filter


@pass_eval_context
def _join(
    eval_context: EvalContext, value: Iterable[Any], d: str = "", attribute: Any = None
) -> Any:
    if attribute is None:
        value = [require_text(item) for item in value]
    return FILTERS["join"](eval_context, value, d, attribute)


def _to_json(value: Any, indent: int | None = None) -> str:
    """Return JSON without Jinja's escapes for HTML; keys stay in order."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


TEXT_FILTERS: Mapping[str, Callable[..., Any]] = {
    "join": _join,
    "tojson": _to_json,
    **{
        name: _check_value(FILTERS[name])
        for name in (
            *("capitalize", "center", "indent", "lower", "replace", "striptags", "title"),
            *("trim", "truncate", "upper", "wordwrap"),
        )
    },
}
"""Filters that write text; unlike Jinja's own, they raise ``OutputError``."""

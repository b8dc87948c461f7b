"""Parse tool calls and tool definitions, in the forms that data sets have."""

import json
from collections.abc import Mapping
from typing import Any

from blossomtune.errors import UserError


def parse_tool_calls(location: str, value: Any) -> list[dict[str, Any]]:
    """Parse the calls of one message.

    Args:
        location: Where the value is, for errors.
        value: A call, a list of calls, or JSON text of either. A call has ``name`` and
            ``arguments``, directly or in ``function``, and perhaps an ``id``.

    Returns:
        Calls as chat templates read them: ``type``, ``function`` with ``name`` and ``arguments``
        (a mapping), and the ``id`` if there is one.

    Raises:
        UserError: If it is no such value.
    """
    value = _load(location, value)
    calls = [value] if isinstance(value, Mapping) else value
    if not isinstance(calls, list | tuple):
        raise UserError(f"{location}: {type(value).__name__} is no tool call")
    return [_parse_call(f"{location}[{i}]", call) for i, call in enumerate(calls)]


def _parse_call(location: str, call: Any) -> dict[str, Any]:
    call = _load_json(location, call)
    if not isinstance(call, Mapping):
        raise UserError(f"{location}: {type(call).__name__} is no tool call")
    function = call.get("function")
    if not isinstance(function, Mapping):
        function = call
    name, arguments = function.get("name"), function.get("arguments")
    if arguments is None:
        arguments = function.get("parameters")
    if not isinstance(name, str) or not name.strip():
        raise UserError(
            f"{location}: a tool call without a name",
            'a call looks like {"function": {"name": …, "arguments": {…}}}',
        )
    arguments = _load_json(f"{location}: arguments", {} if arguments is None else arguments)
    if not isinstance(arguments, Mapping):
        raise UserError(
            f"{location}: arguments of {name!r} are no JSON object",
            'arguments are a mapping, or its JSON text: "{\\"city\\": \\"Paris\\"}"',
        )
    parsed = {"type": "function", "function": {"name": name, "arguments": dict(arguments)}}
    identifier = call.get("id")
    return parsed if identifier is None else {"id": identifier, **parsed}


def parse_tools(location: str, value: Any) -> list[dict[str, Any]] | None:
    """Parse the tools that a row defines.

    Args:
        location: Where the value is, for errors.
        value: A list of JSON schemas, directly or in ``function``, or its JSON text; or null.

    Returns:
        Definitions with ``type`` and ``function``, or None if there are none.

    Raises:
        UserError: If it is no such value.
    """
    tools = _load(location, value) if value or value == "" else None
    if not tools:
        return None
    if isinstance(tools, Mapping):
        tools = [tools]
    if not isinstance(tools, list | tuple):
        raise UserError(f"{location}: {type(tools).__name__} is no list of tool definitions")
    return [_parse_tool(f"{location}[{i}]", tool) for i, tool in enumerate(tools)]


def _parse_tool(location: str, tool: Any) -> dict[str, Any]:
    tool = _load_json(location, tool)
    function = tool.get("function") if isinstance(tool, Mapping) else None
    schema = function if isinstance(function, Mapping) else tool
    if not isinstance(schema, Mapping) or not isinstance(schema.get("name"), str):
        raise UserError(
            f"{location}: a tool definition without a name",
            'a definition looks like {"name": …, "description": …, "parameters": {…}}',
        )
    return {"type": "function", "function": dict(schema)}


def _load(location: str, value: Any) -> Any:
    """Return the value of JSON text; other values without nulls in mappings.

    Arrow adds these nulls where rows have different keys. JSON text keeps those that are meant.
    """
    return _load_json(location, value) if isinstance(value, str) else _drop_nulls(value)


def _load_json(location: str, value: Any) -> Any:
    """Return the value of JSON text, and other values as they are."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise UserError(f"{location}: not valid JSON: {error}") from None


def _drop_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _drop_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_drop_nulls(item) for item in value]
    return value

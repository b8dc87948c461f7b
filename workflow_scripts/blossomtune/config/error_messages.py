"""What pydantic refuses, in words for people: what is allowed instead."""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import getitem
from typing import Any

from blossomtune.config.key_paths import _list_allowed_keys, _resolve_key_path
from blossomtune.config.partitions import UNSUPPORTED_PARTITIONERS
from blossomtune.errors import find_closest_match

_ALLOWED_BY_ERROR_TYPE = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a block of keys",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "invalid_key": "text",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "list_type": "a list",
    "model_attributes_type": "a block of keys",
    "model_type": "a block of keys",
    "string_too_short": "text that is not empty",
    "string_type": "text",
    "too_short": "a list that is not empty",
}


def describe_allowed_values(errors: Iterable[Any]) -> str:
    """What a value may be.

    Args:
        faults: pydantic's errors about one value; several where it may be of several types.
    """
    return " or ".join(dict.fromkeys(_describe_allowed_value(fault) for fault in errors))


def _describe_allowed_value(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("literal_error", "union_tag_invalid"):
        return ", ".join(parse_choices(error))
    if kind == "string_type" and isinstance(error["input"], bool | int | float):
        return "text, so put it in quotes"
    if kind == "too_short" and context["min_length"] > 1:
        return f"a list of at least {context['min_length']}"
    if kind in _ALLOWED_BY_ERROR_TYPE:
        return _ALLOWED_BY_ERROR_TYPE[kind].format(**context)
    return error["msg"][0].lower() + error["msg"][1:]


def parse_choices(error: Any) -> list[str]:
    """The words that pydantic lists as allowed, e.g. ``"'a', 'b' or 'c'"``."""
    listed = error["ctx"].get("expected_tags") or error["ctx"]["expected"]
    return [word.strip(" '") for word in listed.replace(" or ", ",").split(",")]


def _format_error(error: Any, raw: Any) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "invalid_key" or error["loc"][-1:] == ("[key]",):
        path, _ = _resolve_key_path(error["loc"][: -1 if kind == "invalid_key" else -2], raw)
        return f"{path}: {_abbreviate(value)} is not allowed as a key; allowed: {describe_allowed_values([error])}"
    path, steps = _resolve_key_path(error["loc"], raw)
    if kind == "extra_forbidden":
        known = _list_allowed_keys(steps[:-1], raw)
        near = find_closest_match(str(steps[-1]), known)
        hint = f"did you mean {near!r}? " if near else ""
        return (
            f"{path}: unknown key (value {_abbreviate(value)}); {hint}allowed: {', '.join(known)}"
        )
    if kind == "missing":
        return f"{path}: missing; this key is required"
    if kind == "union_tag_not_found":
        return f"{path}: key {context['discriminator']} is missing; it says which kind this is"
    if kind == "value_error":
        return f"{path}: {context['error']}"
    if kind == "union_tag_invalid":
        value = context["tag"]
        if isinstance(reduce(getitem, steps, raw), Mapping):  # else a name stands for its block
            path += f".{context['discriminator'].strip(chr(39))}"
        if value in UNSUPPORTED_PARTITIONERS:
            return f"{path}: {value!r} is not allowed: {UNSUPPORTED_PARTITIONERS[value]}"
    named = kind in ("union_tag_invalid", "literal_error")
    hint = _suggest_spelling(value, parse_choices(error)) if named else ""
    return f"{path}: {_abbreviate(value)} is not allowed; allowed: {describe_allowed_values([error])}{hint}"


def _suggest_spelling(value: Any, allowed_values: Iterable[str]) -> str:
    near = find_closest_match(str(value), list(allowed_values))
    return f"; did you mean {near!r}?" if near and near != value else ""


def _abbreviate(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

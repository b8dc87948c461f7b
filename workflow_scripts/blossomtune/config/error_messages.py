"""Format pydantic's errors: the key, its value, what is allowed, and a hint."""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import getitem
from typing import Any

from blossomtune.config.key_paths import list_allowed_keys, resolve_key_path
from blossomtune.config.partitions import UNSUPPORTED_PARTITIONERS
from blossomtune.errors import abbreviate, find_closest_match

RENAMED_KEYS = {"controls": "baselines"}
"""Keys of earlier versions and their names today."""

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
    """Return a description of the allowed values of a key.

    Args:
        errors: Pydantic's errors of one value: one per type that it may have.

    Returns:
        Descriptions joined by "or".
    """
    return " or ".join(dict.fromkeys(_describe_allowed_value(error) for error in errors))


def _describe_allowed_value(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("literal_error", "union_tag_invalid"):
        return ", ".join(_parse_choices(error))
    if kind == "string_type" and isinstance(error["input"], bool | int | float):
        return "text, so put it in quotes"
    if kind == "too_short" and context["min_length"] > 1:
        return f"a list of at least {context['min_length']}"
    if kind in _ALLOWED_BY_ERROR_TYPE:
        return _ALLOWED_BY_ERROR_TYPE[kind].format(**context)
    message: str = error["msg"]
    return message[0].lower() + message[1:]


def _parse_choices(error: Any) -> list[str]:
    """Return the choices in a pydantic error, e.g. ``"'a', 'b' or 'c'"``."""
    choices = error["ctx"].get("expected_tags") or error["ctx"]["expected"]
    return [choice.strip(" '") for choice in choices.replace(" or ", ",").split(",")]


def format_error(error: Any, raw: Any) -> str:
    """Return the message of a pydantic error.

    Args:
        error: Item of ``ValidationError.errors()``.
        raw: Nested dictionaries as YAML has them.

    Returns:
        One line: path, value, allowed values and a hint.
    """
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "invalid_key" or error["loc"][-1:] == ("[key]",):
        path, _ = resolve_key_path(error["loc"][: -1 if kind == "invalid_key" else -2], raw)
        allowed = describe_allowed_values([error])
        return f"{path}: {abbreviate(value)} is not allowed as a key; allowed: {allowed}"
    path, steps = resolve_key_path(error["loc"], raw)
    if kind == "extra_forbidden":
        known = list_allowed_keys(steps[:-1], raw)
        if (new_name := RENAMED_KEYS.get(str(steps[-1]))) in known:
            return f"{path}: this key has a new name; rename it to {new_name!r}"
        near = find_closest_match(str(steps[-1]), known)
        hint = f"did you mean {near!r}? " if near else ""
        return f"{path}: unknown key (value {abbreviate(value)}); {hint}allowed: {', '.join(known)}"
    if kind == "missing":
        return f"{path}: missing; this key is required"
    if kind == "union_tag_not_found":
        return f"{path}: key {context['discriminator']} is missing; it says which kind this is"
    if kind == "value_error":
        return f"{path}: {context['error']}"
    if kind == "union_tag_invalid":
        value = context["tag"]
        if isinstance(reduce(getitem, steps, raw), Mapping):  # else a name instead of a block
            path += f".{context['discriminator'].strip(chr(39))}"
        if value in UNSUPPORTED_PARTITIONERS:
            return f"{path}: {value!r} is not allowed: {UNSUPPORTED_PARTITIONERS[value]}"
    has_choices = kind in ("union_tag_invalid", "literal_error")
    hint = suggest_spelling(value, _parse_choices(error)) if has_choices else ""
    allowed = describe_allowed_values([error])
    return f"{path}: {abbreviate(value)} is not allowed; allowed: {allowed}{hint}"


def suggest_spelling(value: Any, allowed_values: Iterable[str]) -> str:
    """Return "; did you mean …?" with the most similar allowed value, or an empty text.

    Args:
        value: What the user wrote.
        allowed_values: Known spellings.

    Returns:
        Text to append to a message.
    """
    near = find_closest_match(str(value), list(allowed_values))
    return f"; did you mean {near!r}?" if near and near != value else ""

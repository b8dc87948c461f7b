"""What pydantic refuses, in words for people: what is allowed instead."""

from collections.abc import Iterable
from typing import Any

_WORDS = {
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


def allowed(faults: Iterable[Any]) -> str:
    """What a value may be.

    Args:
        faults: pydantic's errors about one value; several where it may be of several types.
    """
    return " or ".join(dict.fromkeys(_allowed(fault) for fault in faults))


def _allowed(fault: Any) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in ("literal_error", "union_tag_invalid"):
        return ", ".join(choices(fault))
    if kind == "string_type" and isinstance(fault["input"], bool | int | float):
        return "text, so put it in quotes"
    if kind == "too_short" and context["min_length"] > 1:
        return f"a list of at least {context['min_length']}"
    if kind in _WORDS:
        return _WORDS[kind].format(**context)
    return fault["msg"][0].lower() + fault["msg"][1:]


def choices(fault: Any) -> list[str]:
    """The words that pydantic lists as allowed, e.g. ``"'a', 'b' or 'c'"``."""
    listed = fault["ctx"].get("expected_tags") or fault["ctx"]["expected"]
    return [word.strip(" '") for word in listed.replace(" or ", ",").split(",")]

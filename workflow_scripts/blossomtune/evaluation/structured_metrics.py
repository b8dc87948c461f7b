"""Compare numbers in answers, and check JSON."""

import json
import re
from decimal import Decimal
from typing import NoReturn

_NUMBER = re.compile(
    r"(?:(?<!\w)[-\u2212])?"
    r"(?:\d{1,3}(?:([,'\u2019\u00a0\u202f])\d{3})(?:\1\d{3})*(?!\d)(?:\.\d+)?"  # 1,234,567.8
    r"|\d+(?:[.,]\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d{1,4}(?!\w))?"
)


def find_number(text: str) -> Decimal | None:
    """Return the last number of a text.

    Commas, apostrophes and no-break spaces before three digits separate thousands. Another comma
    is a decimal one.

    Args:
        text: Any text.

    Returns:
        The number, or None without one.
    """
    matches = list(_NUMBER.finditer(text))
    if not matches:
        return None
    number, separator = matches[-1][0].replace("\u2212", "-"), matches[-1][1]
    return Decimal(number.replace(separator, "") if separator else number.replace(",", "."))


def numeric_match(answer: str, reference: str) -> float:
    """Return 1 if the last numbers of both have the same value.

    Args:
        answer: A generated answer.
        reference: A right answer.

    Returns:
        0 or 1; 0 if either has no number.
    """
    number = find_number(answer)
    return float(number is not None and number == find_number(reference))


def json_valid(answer: str, reference: str) -> float:
    """Return 1 if an answer is valid JSON (RFC 8259), whatever the right answer is.

    Args:
        answer: A generated answer.
        reference: Not used.

    Returns:
        0 or 1.
    """

    def reject(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON number")

    try:
        # as text: Python limits the digits of a number
        json.loads(answer, parse_int=str, parse_float=str, parse_constant=reject)
    except (ValueError, RecursionError):
        return 0.0
    return 1.0

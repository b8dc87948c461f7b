"""Format numbers for readers."""

import math
from collections.abc import Sequence

NARROW_SPACE = "\u202f"  # narrow no-break space, between a number and its unit
_NUMBER_WORDS = "no one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_percent(share: float, digits: int = 0) -> str:
    """Return a share in percent: "42 %".

    Args:
        share: the share, from 0 to 1.
        digits: digits after the point.

    Returns:
        Number and percent sign, with a narrow no-break space between them.
    """
    return f"{share * 100:.{digits}f}{NARROW_SPACE}%"


def format_points(difference: float, unit: str = " points") -> str:
    """Return a difference of two shares in percentage points with its sign: "+30.2 points".

    Args:
        difference: the difference, from -1 to 1.
        unit: text after the number.

    Returns:
        Number with one digit after the point; the sign is "+" or a minus (U+2212).
    """
    return f"{difference * 100:+.1f}{unit}".replace("-", "−")


def format_count(number: int) -> str:
    """Return a number with separators: "18,223"."""
    return f"{number:,}"


def format_number(value: float | None) -> str:
    """Return a number with three significant digits, or a dash without a finite number."""
    if value is None or not math.isfinite(value):
        return "–"
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{min(digits, 3)}f}"


def format_setting(value: float) -> str:
    """Return a setting in its shortest form: 5e-4, 0.05, 16."""
    text = f"{value:e}" if 0 < abs(value) < 1e-2 else f"{value:g}"
    mantissa, e, exponent = text.partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if e else text


def format_bytes(size: float) -> str:
    """Return bytes as "12.3 MB" (1 MB = 10^6 bytes), or as "4.5 kB" if there are few."""
    if size < 1e5:
        return f"{size / 1e3:,.1f}{NARROW_SPACE}kB"
    return f"{size / 1e6:,.1f}{NARROW_SPACE}MB"


def format_duration(seconds: float) -> str:
    """Return seconds as "8 s", "2 min 05 s" or "3 h 07 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}{NARROW_SPACE}s" if seconds < 10 else f"{whole}{NARROW_SPACE}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{NARROW_SPACE}min {rest:02}{NARROW_SPACE}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NARROW_SPACE}h {minutes:02}{NARROW_SPACE}min"


def format_parameter_count(size: int) -> str:
    """Return a number of parameters: "134.5 million"."""
    for value, word in ((1e9, "billion"), (1e6, "million")):
        if size >= value:
            return f"{size / value:.1f} {word}"
    return format_count(size)


def format_amount(size: int, noun: str) -> str:
    """Return a number of things: "four clients", "one client", "1,200 rows".

    Args:
        size: the number.
        noun: the noun in its singular form.

    Returns:
        Number, up to twelve as a word, and the noun, with an "s" unless the number is 1.
    """
    return f"{spell_number(size)} {noun}" + ("" if size == 1 else "s")


def spell_number(size: int) -> str:
    """Return a number, up to twelve as a word: "four", "1,200"."""
    return _NUMBER_WORDS[size] if size < len(_NUMBER_WORDS) else format_count(size)


def capitalize_first(text: str) -> str:
    """Return the text with a capital first letter; the rest stays the same."""
    return text[:1].upper() + text[1:]


def join_list(items: Sequence[str]) -> str:
    """Return a list in words: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def format_range(low: float, high: float, unit: str = "") -> str:
    """Return a range: "4 to 64", or "8" if both ends are equal.

    Args:
        low: first end.
        high: last end.
        unit: text after the numbers.

    Returns:
        Ends in their shortest form, followed by the unit once.
    """
    first, last = format_setting(low), format_setting(high)
    return (first if first == last else f"{first} to {last}") + unit


def format_signed(value: float) -> str:
    """Return a number with its sign: "+0.120", "−0.045"."""
    return ("−" if value < 0 else "+") + format_number(abs(value))


def format_upper_bound(value: float) -> str:
    """Return an upper bound with three significant digits, rounded up."""
    if not 0 < value < 1e6:
        return format_number(value)
    unit = 10.0 ** -min(3, max(0, 2 - math.floor(math.log10(value))))
    return format_number(math.ceil(value / unit - 1e-9) * unit)

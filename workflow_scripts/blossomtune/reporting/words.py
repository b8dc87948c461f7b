"""Numbers as people read them."""

import math
from collections.abc import Sequence

THIN = "\u202f"  # narrow no-break space, between a number and its unit
_SMALL = "no one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(share: float, digits: int = 0) -> str:
    """0.423 as "42 %"."""
    return f"{share * 100:.{digits}f}{THIN}%"


def points(difference: float, unit: str = " points") -> str:
    """A difference of two shares in percentage points, signed: "+30.2 points"."""
    return f"{difference * 100:+.1f}{unit}".replace("-", "−")


def count(number: int) -> str:
    """18223 as "18,223"."""
    return f"{number:,}"


def number(value: float | None) -> str:
    """Three significant digits; a dash where there is nothing to show."""
    if value is None or not math.isfinite(value):
        return "–"
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{min(digits, 3)}f}"


def plain(value: float) -> str:
    """A setting as someone would type it: 5e-4, 0.05, 16."""
    text = f"{value:e}" if 0 < abs(value) < 1e-2 else f"{value:g}"
    mantissa, e, exponent = text.partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if e else text


def megabytes(size: float) -> str:
    """Bytes as "12.3 MB" (1 MB = 1,000,000 bytes), small ones as "4.5 kB"."""
    if size < 1e5:
        return f"{size / 1e3:,.1f}{THIN}kB"
    return f"{size / 1e6:,.1f}{THIN}MB"


def duration(seconds: float) -> str:
    """Seconds as "8 s", "2 min 05 s" or "3 h 07 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}{THIN}s" if seconds < 10 else f"{whole}{THIN}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{THIN}min {rest:02}{THIN}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{THIN}h {minutes:02}{THIN}min"


def millions(size: int) -> str:
    """A number of parameters as "134.5 million"."""
    for value, word in ((1e9, "billion"), (1e6, "million")):
        if size >= value:
            return f"{size / value:.1f} {word}"
    return count(size)


def amount(size: int, noun: str) -> str:
    """ "four clients", "one client", "1,200 rows"."""
    return f"{word(size)} {noun}" + ("" if size == 1 else "s")


def word(size: int) -> str:
    """ "four", "1,200": small numbers as words."""
    return _SMALL[size] if size < len(_SMALL) else count(size)


def capital(text: str) -> str:
    """The text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def listed(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def between(low: float, high: float, unit: str = "") -> str:
    """ "8", or "4 to 64" where the two differ."""
    first, last = plain(low), plain(high)
    return (first if first == last else f"{first} to {last}") + unit


def signed(value: float) -> str:
    """A number with its sign: "+0.120", "−0.045"."""
    return ("−" if value < 0 else "+") + number(abs(value))


def upwards(value: float) -> str:
    """As ``number``, but never less than the value: for what is a bound."""
    if not 0 < value < 1e6:
        return number(value)
    unit = 10.0 ** -min(3, max(0, 2 - math.floor(math.log10(value))))
    return number(math.ceil(value / unit - 1e-9) * unit)

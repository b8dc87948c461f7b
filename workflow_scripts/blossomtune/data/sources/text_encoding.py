"""Detection of a file's text encoding, and reading of its text."""

import codecs
import io
import re
from pathlib import Path
from typing import NoReturn

from blossomtune.data.sources import cp1252
from blossomtune.data.sources.compression import open_decompressed
from blossomtune.errors import UserError

_BUFFER_SIZE = 1 << 20
_HEAD_SIZE = 4096
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: ("utf-8-sig", "utf-8"),
    codecs.BOM_UTF32_LE: ("utf-32", "utf-32-le"),
    codecs.BOM_UTF32_BE: ("utf-32", "utf-32-be"),
    codecs.BOM_UTF16_LE: ("utf-16", "utf-16-le"),
    codecs.BOM_UTF16_BE: ("utf-16", "utf-16-be"),
}
"""Encodings that fit a byte-order mark; the first one removes it. UTF-32 comes before UTF-16."""

_SIGN = rb"[\xa1-\xaa\xac-\xb6\xb8-\xba\xbc-\xbf]"
_UTF8_SEQUENCE = re.compile(
    rb"[\xc2-\xdf]%(sign)b|\xe2[\x80\x82][\x80-\xbf]|[\xe0-\xef]%(sign)b{2}|\xf0\x9f[\x80-\xbf]{2}"
    % {b"sign": _SIGN}
)
"""UTF-8 that is not also a letter with punctuation in cp1252, such as ``ß“``."""

_LEGACY_ENCODINGS = ("cp1250", "cp1251", "cp1252", "cp1254", "mac_roman", "shift_jis", "gb18030")
_HINT = "format: {encoding: …} says what it is"


def open_bytes(path: Path) -> io.BufferedReader:
    """Open a file, decompressed, for reading bytes or lines of bytes."""
    return io.BufferedReader(open_decompressed(path), _BUFFER_SIZE)


def open_text(path: Path, encoding: str, newline: str | None = "") -> io.TextIOWrapper:
    """Open a file, decompressed, as text without a byte-order mark.

    Args:
        path: the file.
        encoding: an encoding from ``detect_encoding``.
        newline: as of ``open``; the default keeps line ends as they are.

    Returns:
        The text, at its start.
    """
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline=newline)


def detect_encoding(path: Path, stated: str | None, *, is_json: bool = False) -> str:
    """Return a file's encoding, after checking that the whole file can be decoded.

    It is UTF-8, UTF-16 or UTF-32 by byte-order mark or zero bytes, else UTF-8, else cp1252 if the
    text reads like a language of Western Europe. JSON is never cp1252, and is not decoded.

    Args:
        path: the file.
        stated: the encoding by configuration, or None.
        is_json: whether the file is JSON.

    Returns:
        The encoding, in Python's spelling; the variant that removes a byte-order mark.

    Raises:
        UserError: if the encoding cannot be detected, or the stated one does not fit.
    """
    with open_decompressed(path) as file:
        head = file.read(_HEAD_SIZE)
    fitting = _match_byte_order_mark(head) or _match_zero_bytes(head)
    if stated is not None and not (is_json and codecs.lookup(stated).name == "utf-8"):
        return _check_stated_encoding(path, codecs.lookup(stated).name, fitting)
    if fitting or is_json:
        encoding = fitting[0] if fitting else "utf-8"
        if not is_json:
            _require_decodable(path, encoding, "by its first bytes")
        return encoding
    return "utf-8" if _find_error(path, "utf-8") is None else _require_cp1252(path)


def _match_byte_order_mark(head: bytes) -> tuple[str, ...]:
    matches = (names for mark, names in _BYTE_ORDER_MARKS.items() if head.startswith(mark))
    return next(matches, ())


def _match_zero_bytes(head: bytes) -> tuple[str, ...]:
    """Return UTF-16 if nearly all zero bytes, and many, are at even or at odd positions."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) <= len(head) / 5 or min(even, odd) * 10 > max(even, odd):
        return ()
    return ("utf-16-be" if even > odd else "utf-16-le"), "utf-16"


def _check_stated_encoding(path: Path, stated: str, fitting: tuple[str, ...]) -> str:
    """Return the stated encoding; raise UserError if the file is in another one."""
    problem = f"format.encoding: {path.name} is not {stated}"
    if fitting:
        if stated not in fitting:
            raise UserError(f"{problem}; it is {fitting[0]} by its first bytes", "leave it out")
        stated = fitting[0]
    elif not stated.startswith("utf-8") and _is_utf8(path, stated):
        raise UserError(f"{problem}; it is utf-8", "leave it out: it is detected for each file")
    _require_decodable(path, stated, "format.encoding")
    return stated


def _is_utf8(path: Path, stated: str) -> bool:
    """Return whether a file is UTF-8 rather than in the stated encoding.

    Text of two bytes per character can be valid UTF-8 by chance; text of one byte cannot.
    """
    if stated.startswith("utf-16"):
        return _find_error(path, "utf-8") is None
    is_single_byte = len(bytes(range(256)).decode(stated, "replace")) == 256
    return is_single_byte and _find_error(path, "utf-8") is None and not _is_ascii(path)


def _is_ascii(path: Path) -> bool:
    return all(line.isascii() for line in open_bytes(path))


def _find_error(path: Path, encoding: str) -> tuple[int, str] | None:
    """Return the line number and the bytes that cannot be decoded, or None."""
    decoder = codecs.getincrementaldecoder(encoding)()
    number = 1
    with open_decompressed(path) as file:
        while True:
            chunk = file.read(_BUFFER_SIZE)
            try:
                number += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(encoding, "ignore")
                bad = error.object[error.start : error.end][:4]
                return number + before.count("\n"), " ".join(f"0x{byte:02x}" for byte in bad)
            if not chunk:
                return None


def _require_decodable(path: Path, encoding: str, origin: str) -> None:
    if error := _find_error(path, encoding):
        raise UserError(
            f"format.encoding: {path.name} is not {encoding} ({origin}): line {error[0]} has the "
            f"bytes {error[1]}",
            _HINT,
        )


def _require_cp1252(path: Path) -> str:
    """Return cp1252; raise UserError if the text does not read like it."""
    line, bad_bytes = _find_error(path, "utf-8") or (0, "")
    if any(b"\0" in line for line in open_bytes(path)):
        raise UserError(f"{path.name} is not text", "format: {kind: …} says what it is")
    if any(_UTF8_SEQUENCE.search(line) for line in open_bytes(path)):
        raise UserError(
            f"format.encoding: {path.name} is utf-8 but for line {line} with the bytes {bad_bytes}",
            "mend that line, or say what the file is: format: {encoding: cp1252}",
        )
    if _find_error(path, "cp1252") is None:
        with open_text(path, "cp1252") as text:
            if cp1252.is_plausible(text):
                return "cp1252"
    _raise_unknown_encoding(path)


def _raise_unknown_encoding(path: Path) -> NoReturn:
    """Raise UserError with the first line beyond ASCII as each of several encodings reads it."""
    line = next(line for line in open_bytes(path) if not line.isascii()).strip()
    start = max(0, next(i for i, byte in enumerate(line) if byte > 127) - 20)
    readings = {}
    for encoding in _LEGACY_ENCODINGS:
        try:
            readings[encoding] = line.decode(encoding)[start : start + 40]
        except UnicodeDecodeError:
            continue
    tried = ", ".join(f"{encoding} reads {text!r}" for encoding, text in readings.items())
    raise UserError(
        f"format.encoding: {path.name} is not utf-8, and which encoding it has is not clear"
        + (f": {tried}" if tried else ""),
        _HINT,
    )

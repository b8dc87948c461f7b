"""Notes of what worker processes do, which their parent reads after one was killed."""

import mmap
import struct
import time

_CALL = struct.Struct("dq")  # time of the start, and row
_FILE = slice(_CALL.size, 256)
_NAME = slice(256, 512)

SLOT_BYTES = 512
"""Bytes per worker process."""

_slot: memoryview | None = None
"""Notes of this worker process; None in other processes."""

_file, _row, _name = "", -1, ""


def allocate_slots(count: int) -> memoryview:
    """Return shared memory for the notes of worker processes that are forked later."""
    return memoryview(mmap.mmap(-1, count * SLOT_BYTES))


def use_slot(slots: memoryview, index: int) -> None:
    """Write this process's notes into one of the slots.

    Args:
        slots: Result of ``allocate_slots``.
        index: Number of the worker process.
    """
    global _slot
    _slot = slots[index * SLOT_BYTES : (index + 1) * SLOT_BYTES]


def is_worker() -> bool:
    """Return whether this process writes notes."""
    return _slot is not None


def note_file(name: str) -> None:
    """Set the name of the file in work."""
    global _file, _row
    _file, _row = name, -1
    _write_text(_FILE, name)


def note_row(row: int) -> None:
    """Set the index of the row in work."""
    global _row
    _row = row


def note_start(name: str) -> None:
    """Note that a call of this name starts."""
    global _name
    if _slot is None:
        return
    if name is not _name:
        _name = name
        _write_text(_NAME, name)
    _CALL.pack_into(_slot, 0, time.monotonic(), _row)


def note_end() -> None:
    """Note that no call runs."""
    if _slot is not None:
        _CALL.pack_into(_slot, 0, 0.0, -1)


def add_place(text: str) -> str:
    """Return a text after the names of file and row in work."""
    return _format_call(_file, _row, text)


def find_overdue(slots: memoryview, seconds: float) -> str | None:
    """Find a call that takes too long.

    Args:
        slots: Result of ``allocate_slots``.
        seconds: Time that no call may take.

    Returns:
        File, row and name of the call, or None.
    """
    for first in range(0, len(slots), SLOT_BYTES):
        slot = slots[first : first + SLOT_BYTES]
        start, row = _CALL.unpack_from(slot)
        if start and time.monotonic() - start >= seconds:
            return _format_call(_read_text(slot[_FILE]), row, _read_text(slot[_NAME]))
    return None


def _format_call(file: str, row: int, text: str) -> str:
    return ": ".join(filter(None, [file, f"row {row}" if row >= 0 else "", text]))


def _write_text(part: slice, text: str) -> None:
    if _slot is not None:
        size = part.stop - part.start
        _slot[part] = text.encode(errors="replace")[:size].ljust(size, b"\0")


def _read_text(part: memoryview) -> str:
    return bytes(part).rstrip(b"\0").decode(errors="ignore")

"""Bound what the callers of a SuperLink can make it log."""

import logging
import time

from blossomtune.text_cleaning import clean_line

MAX_LINES, PERIOD_SECONDS = 1000, 60.0
"""Most records of a logger per period; a round logs about five per client."""


class LogLimit(logging.Filter):
    """Filter that makes one short line of each record, and drops those above a rate.

    Flower logs what callers send, such as ids of any length, and a traceback for requests that it
    cannot serve.
    """

    def __init__(self) -> None:
        super().__init__()
        self._num_lines, self._period_end = 0, 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean a record; return whether it is logged."""
        now = time.monotonic()
        if now >= self._period_end:
            self._num_lines, self._period_end = 0, now + PERIOD_SECONDS
        self._num_lines += 1
        if self._num_lines > MAX_LINES:
            return False
        record.msg, record.args = clean_line(record.getMessage()), ()
        if self._num_lines == MAX_LINES:
            record.msg += f" (further lines of {PERIOD_SECONDS:g} s are dropped)"
        return True

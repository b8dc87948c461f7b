"""Patience with networks: a request that may succeed later is tried again."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MAX_ATTEMPTS = 3
INITIAL_DELAY = 1.0
"""Seconds before the second attempt; twice as long before each further one."""


class UnreachableError(Exception):
    """Patience is at its end; the message says what the last attempt met."""


def call_with_retries(action: Callable[[], T], transient_errors: tuple[type[Exception], ...]) -> T:
    """Calls ``action`` up to ``ATTEMPTS`` times.

    Args:
        action: what to do; it must be safe to repeat.
        transient: errors after which another attempt may help. Of those that carry an HTTP
            response, only "too many requests" and the server's own faults are worth repeating.

    Returns:
        What ``action`` returned.

    Raises:
        UnreachableError: when the last attempt failed like the others.
        Exception: at once, whatever else ``action`` raises.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            return action()
        except transient_errors as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status is not None and status != 429 and status < 500:
                raise
            if attempt == MAX_ATTEMPTS:
                # the error's own text is left out: it may hold an address with a password
                met = f"HTTP status {status}" if status else type(error).__name__
                raise UnreachableError(f"{met}, {MAX_ATTEMPTS} attempts") from error
        time.sleep(INITIAL_DELAY * 2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")

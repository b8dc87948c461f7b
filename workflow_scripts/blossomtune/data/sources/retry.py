"""Retries of network requests with exponential backoff."""

from collections.abc import Callable
from typing import TypeVar

import tenacity

T = TypeVar("T")

MAX_ATTEMPTS = 3
INITIAL_DELAY = 1.0
"""Seconds before the second attempt; the delay doubles before each further one."""

MAX_REQUESTED_DELAY = 60.0
"""Maximum number of seconds to wait where a server names a delay."""


class UnreachableError(Exception):
    """All attempts failed; the message names the last failure."""


def call_with_retries(action: Callable[[], T], transient_errors: tuple[type[Exception], ...]) -> T:
    """Call ``action`` up to ``MAX_ATTEMPTS`` times.

    Args:
        action: the request; it must be safe to repeat.
        transient_errors: errors after which another attempt may help. Of those that carry an HTTP
            response, only status 429 and 5xx are retried.

    Returns:
        The value that ``action`` returned.

    Raises:
        UnreachableError: if the last attempt failed with a transient error.
        Exception: any other error of ``action``, at once.
    """
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(MAX_ATTEMPTS),
        wait=_compute_delay,
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, transient_errors) and _is_retryable(error)
        ),
    )
    try:
        return retrying(action)
    except tenacity.RetryError as retry_error:
        error = retry_error.last_attempt.exception()
        status = _get_http_status(error)
        # the error's own text may contain an address with a password
        reason = f"HTTP status {status}" if status else type(error).__name__
        raise UnreachableError(f"{reason}, {MAX_ATTEMPTS} attempts") from error


def _compute_delay(state: tenacity.RetryCallState) -> float:
    """Return the seconds before the next attempt: no less than the server asks for."""
    delay = tenacity.wait_exponential(multiplier=INITIAL_DELAY)(state)
    error = state.outcome.exception() if state.outcome else None
    headers = getattr(getattr(error, "response", None), "headers", {})
    requested = headers.get("Retry-After", "")  # seconds, or a date
    is_number = requested.isascii() and requested.isdigit()
    return max(delay, min(float(requested), MAX_REQUESTED_DELAY)) if is_number else delay


def _is_retryable(error: BaseException) -> bool:
    status = _get_http_status(error)
    return status is None or status == 429 or status >= 500


def _get_http_status(error: BaseException | None) -> int | None:
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status

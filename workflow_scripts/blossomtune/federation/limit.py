"""The time that a cluster gives a job: a round that would not be done in it is not begun."""

import time

from blossomtune.errors import UserError

RESERVE_SECONDS = 60
"""For what comes after a round."""


class Limit:
    """Measures rounds, and says when the next one would come to its end too late.

    Args:
        until: when the job is stopped, in seconds since 1970; None where nothing stops it.
    """

    def __init__(self, until: float | None) -> None:
        self._until = until
        self._longest = 0.0
        self._last: float | None = None

    def check(self, done: int) -> None:
        """To be called before each round.

        Args:
            done: the last round that is done.

        Raises:
            UserError: where the next one might not be; never before the first, so that every
                attempt brings the federation on.
        """
        now = time.time()
        if self._last is not None:
            self._longest = max(self._longest, now - self._last)
        if self._until and self._last and now + 1.5 * self._longest + RESERVE_SECONDS > self._until:
            raise UserError(
                f"the job's time is up after round {done}, which is kept",
                "start it again to go on there; `restart-times` of the profile does so by itself",
            )
        self._last = now

"""The time that a cluster gives a job: a round that would not be done in it is not begun."""

import time

from blossomtune.errors import UserError

RESERVE_SECONDS = 60
"""For what comes after a round."""


class JobDeadline:
    """Measures rounds, and says when the next one would come to its end too late.

    Args:
        until: when the job is stopped, in seconds since 1970; None where nothing stops it.
    """

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline
        self._longest_round_seconds = 0.0
        self._last_check: float | None = None

    def check(self, completed_round: int) -> None:
        """To be called before each round.

        Args:
            done: the last round that is done.

        Raises:
            UserError: where the next one might not be; never before the first, so that every
                attempt brings the federation on.
        """
        now = time.time()
        if self._last_check is not None:
            self._longest_round_seconds = max(self._longest_round_seconds, now - self._last_check)
        if (
            self._deadline
            and self._last_check
            and now + 1.5 * self._longest_round_seconds + RESERVE_SECONDS > self._deadline
        ):
            raise UserError(
                f"the job's time is up after round {completed_round}, which is kept",
                "start it again to go on there; `restart-times` of the profile does so by itself",
            )
        self._last_check = now

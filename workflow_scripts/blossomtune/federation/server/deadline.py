"""Stop a run before a round that would not end within a cluster's time limit."""

import time

from blossomtune.errors import UserError

RESERVE_SECONDS = 60
"""Time for writing the results after a round."""

SAFETY_FACTOR = 1.5
"""The next round may take this many times the longest one so far."""


class JobDeadline:
    """Time limit of a cluster's job.

    Args:
        deadline: Value of the monotonic clock at which the job is stopped, if there is one.
    """

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline
        self._longest_round_seconds = 0.0
        self._last_check: float | None = None

    def check(self, completed_round: int) -> None:
        """Raise if the next round might not end in time. Call this before each round.

        The first call never raises, so that each attempt completes at least one round.

        Args:
            completed_round: Number of the last completed round.

        Raises:
            UserError: If the next round might not end in time.
        """
        now = time.monotonic()
        if self._last_check is not None:
            self._longest_round_seconds = max(self._longest_round_seconds, now - self._last_check)
            needed = SAFETY_FACTOR * self._longest_round_seconds + RESERVE_SECONDS
            if self._deadline and now + needed > self._deadline:
                raise UserError(
                    f"the job's time is up after round {completed_round}, which is kept",
                    "start it again to go on there; `restart-times` of the profile does so by "
                    "itself",
                )
        self._last_check = now

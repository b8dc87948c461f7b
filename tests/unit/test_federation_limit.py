"""Rounds that a job has no time for are not begun."""

import time

import pytest

from blossomtune.errors import UserError
from blossomtune.federation.server.deadline import RESERVE_SECONDS, JobDeadline


def test_without_a_limit_every_round_is_begun():
    limit = JobDeadline(None)
    for done in range(5):
        limit.check(done)


def test_the_first_round_of_an_attempt_is_always_begun():
    """Else a job whose rounds are too long for it would never come to an end."""
    limit = JobDeadline(time.time())
    limit.check(3)
    with pytest.raises(UserError, match="time is up after round 4, which is kept"):
        limit.check(4)


def test_a_round_that_fits_is_begun():
    limit = JobDeadline(time.time() + RESERVE_SECONDS + 1)
    limit.check(0)
    limit.check(1)
    time.sleep(1)  # so long was the round; a second one of that length would end too late
    with pytest.raises(UserError, match="after round 2"):
        limit.check(2)

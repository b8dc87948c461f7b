import time

import pytest

from blossomtune.errors import UserError
from blossomtune.federation.server.deadline import RESERVE_SECONDS, JobDeadline


def test_no_round_is_rejected_without_a_deadline():
    deadline = JobDeadline(None)
    for completed_round in range(5):
        deadline.check(completed_round)


def test_first_round_of_an_attempt_is_always_started():
    """Otherwise a job whose rounds are longer than its limit would never end."""
    deadline = JobDeadline(time.monotonic())
    deadline.check(3)
    with pytest.raises(UserError, match="time is up after round 4, which is kept"):
        deadline.check(4)


def test_round_that_ends_in_time_is_started():
    deadline = JobDeadline(time.monotonic() + RESERVE_SECONDS + 1)
    deadline.check(0)
    deadline.check(1)
    time.sleep(1)  # the length of the round; a second one would end too late
    with pytest.raises(UserError, match="after round 2"):
        deadline.check(2)

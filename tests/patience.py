"""Wait for programs on machines of any speed."""

import time

PATIENCE = 1800
"""Seconds after which a program is taken for hung. Tests on slow, loaded machines need minutes."""


def wait_until(condition, seconds=PATIENCE):
    """Wait until a condition holds; return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return value

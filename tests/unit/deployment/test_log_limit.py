import logging

import pytest

from blossomtune.deployment import log_limit
from blossomtune.deployment.log_limit import LogLimit


@pytest.fixture
def logger(caplog):
    logger = logging.getLogger("limited")
    limit = LogLimit()
    logger.addFilter(limit)
    caplog.set_level(logging.INFO)
    yield logger
    logger.removeFilter(limit)


def test_record_is_one_short_line(logger, caplog):
    logger.info("fab_hash=%s", "a\n\x1b[2Jforged " + "b" * 10**6)
    [message] = caplog.messages
    assert message.startswith("fab_hash=a")
    assert len(message) < 1000
    assert message.isprintable()


def test_records_above_the_rate_are_dropped_until_the_next_period(logger, caplog, monkeypatch):
    monkeypatch.setattr(log_limit, "MAX_LINES", 3)
    monkeypatch.setattr(log_limit, "PERIOD_SECONDS", 60.0)
    now = [100.0]
    monkeypatch.setattr(log_limit.time, "monotonic", lambda: now[0])
    for number in range(9):
        logger.info("line %d", number)
    assert caplog.messages == ["line 0", "line 1", "line 2 (further lines of 60 s are dropped)"]
    now[0] += 60
    logger.info("later")
    assert caplog.messages[3:] == ["later"]

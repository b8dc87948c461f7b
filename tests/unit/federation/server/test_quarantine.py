import logging

import pytest

from blossomtune.artifacts.round_record import ClientFailure
from blossomtune.deployment.flower_internal import ErrorCode
from blossomtune.federation.server.quarantine import NODE_UNAVAILABLE, Quarantine

NORTH, SOUTH = 0, 1


def fail(
    quarantine, client=SOUTH, task="train", asked=(NORTH, SOUTH), successful=(), reason="late"
):
    """Let a client fail; return the reason in its record."""
    failure = ClientFailure(client=client, name="south", bytes_down=0, bytes_up=0, reason=reason)
    [record] = quarantine.update(task, asked, successful, [failure])
    return ClientFailure.model_validate(record.model_dump()).reason  # as history.json is read


def test_client_is_in_quarantine_after_failures_in_a_row(caplog):
    quarantine = Quarantine(2)
    caplog.set_level(logging.WARNING)
    assert fail(quarantine) == "late"
    assert SOUTH not in quarantine
    assert not caplog.messages
    assert fail(quarantine) == "late; in quarantine after 2 failures in a row"
    assert SOUTH in quarantine
    assert NORTH not in quarantine
    note = "client 1 (south) is in quarantine after 2 failures in a row: late"
    assert caplog.messages == [note]
    assert fail(quarantine, asked=()) == "in quarantine; a restarted run asks it again"


def test_long_reason_of_a_client_leaves_room_for_the_quarantine():
    reason = fail(Quarantine(1), reason="x" * 500)
    assert len(reason) == 500
    assert reason.endswith("x…; in quarantine after 1 failures in a row")


def test_success_ends_a_row_of_its_own_task_only():
    quarantine = Quarantine(2)
    for task in ("train", "evaluate"):
        fail(quarantine, task=task)
    quarantine.update("train", [SOUTH], [SOUTH], [])
    fail(quarantine, task="train")
    assert SOUTH not in quarantine
    fail(quarantine, task="evaluate")
    assert SOUTH in quarantine


@pytest.mark.parametrize(("max_failures", "asked"), [(0, (SOUTH,)), (2, ())])
def test_client_is_never_in_quarantine_if_it_is_off_or_the_client_was_not_asked(
    max_failures, asked
):
    quarantine = Quarantine(max_failures)
    assert [fail(quarantine, asked=asked) for _ in range(9)] == ["late"] * 9
    assert SOUTH not in quarantine


def test_code_is_that_of_flower():
    assert NODE_UNAVAILABLE == ErrorCode.NODE_UNAVAILABLE

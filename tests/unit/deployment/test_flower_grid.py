"""The grid resends messages to reconnected nodes, and replies for failed ones."""

import pytest
from flwr.app import Message, RecordDict

from blossomtune.deployment.flower_grid import RECONNECTS_FILE, ReconnectingGrid
from blossomtune.deployment.flower_internal import (
    ErrorCode,
    HttpGrid,
    set_message_id,
    set_reply_to_message_id,
    set_task_identity,
)

NODE_IDS = {0: 10, 1: 11}


@pytest.fixture
def sent(monkeypatch):
    """Replace Flower's grid by a list of sent messages; return the list."""
    set_task_identity(1, 1, 1)
    sent = []

    def push_messages(self, messages):
        for message in messages:
            set_message_id(message, message.object_id)
            sent.append(message)
        return [message.metadata.message_id for message in messages]

    monkeypatch.setattr(HttpGrid, "push_messages", push_messages)
    monkeypatch.setattr(HttpGrid, "pull_messages", lambda self, ids: [])
    monkeypatch.setattr(HttpGrid, "get_node_ids", lambda self: [10, 11])
    return sent


@pytest.fixture
def failures():
    """Return the failures by client that the grid polls; each is reported once."""
    return {}


@pytest.fixture
def grid(sent, failures, tmp_path):
    def poll_failures():
        new = dict(failures)
        failures.clear()
        return new

    return ReconnectingGrid(tmp_path / "superlink.sock", "token", poll_failures, NODE_IDS)


def build_messages():
    return [Message(RecordDict(), node, "train") for node in NODE_IDS.values()]


def reply_to(monkeypatch, message):
    """Let the SuperLink have a reply to a sent message."""
    reply = Message(RecordDict(), reply_to=message)
    set_reply_to_message_id(reply, message.metadata.message_id)
    monkeypatch.setattr(HttpGrid, "pull_messages", lambda self, ids: [reply])


def test_unanswered_message_is_sent_again_to_a_reconnected_node(monkeypatch, grid, sent, tmp_path):
    ids = grid.push_messages(build_messages())
    assert len(sent) == 2
    (tmp_path / RECONNECTS_FILE).write_text("11\n")
    assert grid.pull_messages(ids) == []
    assert [message.metadata.dst_node_id for message in sent] == [10, 11, 11]
    assert grid.pull_messages(ids) == []  # each reconnect counts once
    assert len(sent) == 3
    reply_to(monkeypatch, sent[2])
    [reply] = grid.pull_messages(ids)
    assert reply.metadata.reply_to_message_id == ids[1]
    (tmp_path / RECONNECTS_FILE).write_text("11\n11\n")
    monkeypatch.setattr(HttpGrid, "pull_messages", lambda self, ids: [])
    assert grid.pull_messages(ids[:1]) == []
    assert len(sent) == 3  # the message has a reply


def test_failed_node_is_known_and_replies_with_the_reason(grid, sent, failures):
    ids = grid.push_messages(build_messages())
    failures[1] = "it was killed"
    [reply] = grid.pull_messages(ids)
    assert reply.metadata.reply_to_message_id == ids[1]
    assert reply.error.code == ErrorCode.NODE_UNAVAILABLE
    assert reply.error.reason == "it was killed"
    assert sorted(grid.get_node_ids()) == [10, 11]
    ids = grid.push_messages(build_messages())
    assert [message.metadata.dst_node_id for message in sent] == [10, 11, 10]
    assert [reply.error.reason for reply in grid.pull_messages(ids)] == ["it was killed"]


def test_failure_without_known_node_is_ignored(grid, failures):
    ids = grid.push_messages(build_messages())
    failures[5] = "it was killed"
    assert grid.pull_messages(ids) == []

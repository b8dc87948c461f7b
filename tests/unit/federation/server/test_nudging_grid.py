"""Tests of messages that free replies which stay behind in SuperNodes."""

import pytest
from flwr.app import Context, Message, RecordDict

from blossomtune.deployment.flower_internal import set_message_id, set_task_identity
from blossomtune.federation.client.client_app import build_client_app
from blossomtune.federation.messages.nudge import NUDGE
from blossomtune.federation.server import nudging_grid
from blossomtune.federation.server.nudging_grid import NudgingGrid

LATE, PUNCTUAL, SILENT = 1, 2, 3


class SuperNodes:
    """Nodes that answer: one with the next message, one at once, and one that never does."""

    def __init__(self):
        set_task_identity(1, 1, 1)  # as an engine does
        self.messages, self._replies, self._late_replies = [], {}, {}

    def push_messages(self, messages):
        for message in messages:
            message_id = str(len(self.messages))
            set_message_id(message, message_id)
            self.messages.append((message.metadata.dst_node_id, message.metadata.message_type))
            reply = Message(RecordDict(), reply_to=message)
            node = message.metadata.dst_node_id
            if node == LATE:
                self._replies |= self._late_replies
                self._late_replies = {message_id: reply}
            elif node == PUNCTUAL:
                self._replies[message_id] = reply
            yield message_id

    def pull_messages(self, message_ids):
        return [self._replies.pop(i) for i in message_ids if i in self._replies]


@pytest.fixture
def nodes(monkeypatch):
    monkeypatch.setattr(nudging_grid, "NUDGE_SECONDS", 0)
    return SuperNodes()


@pytest.fixture
def ask(nodes):
    """Return a function that sends a message, pulls three times, and returns the replies' ids."""
    grid = NudgingGrid(nodes)

    def send_and_pull(node, message_type):
        [message_id] = grid.push_messages([Message(RecordDict(), node, message_type)])
        replies = [reply for _ in range(3) for reply in grid.pull_messages({message_id})]
        return message_id, [reply.metadata.reply_to_message_id for reply in replies]

    return send_and_pull


def test_replies_that_stay_behind_arrive_after_a_nudge(nodes, ask):
    for message_type in ("query", "train", "train"):
        message_id, answered = ask(LATE, message_type)
        assert answered == [message_id]
    assert [kind for _, kind in nodes.messages] == ["query", NUDGE, *["train", NUDGE] * 2]


def test_node_that_answered_the_query_is_not_nudged_in_rounds(nodes, ask):
    ask(PUNCTUAL, "query")
    ask(SILENT, "train")
    assert nodes.messages == [(PUNCTUAL, "query"), (SILENT, "train")]


def test_node_is_not_nudged_again_before_it_answers(nodes, ask):
    assert ask(SILENT, "query") == ("0", [])
    assert nodes.messages == [(SILENT, "query"), (SILENT, NUDGE)]


def test_nudge_that_the_superlink_does_not_take_is_no_error(nodes, ask, monkeypatch):
    push = nodes.push_messages

    def push_queries(messages):
        return push([m for m in messages if m.metadata.message_type != NUDGE])

    monkeypatch.setattr(nodes, "push_messages", push_queries)
    assert ask(LATE, "query") == ("0", [])


def test_node_is_not_nudged_within_a_minute(ask, nodes, monkeypatch):
    monkeypatch.setattr(nudging_grid, "NUDGE_SECONDS", 60)
    ask(SILENT, "query")
    assert nodes.messages == [(SILENT, "query")]


def test_client_app_answers_a_nudge_without_its_run():
    set_task_identity(1, 1, 1)
    app = build_client_app(lambda _: pytest.fail("the run was loaded"))
    message = Message(RecordDict(), 1, NUDGE)
    reply = app(message, Context(1, 1, {}, RecordDict(), {}))
    assert not reply.has_error()
    assert not reply.content

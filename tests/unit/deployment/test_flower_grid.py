"""The grid resends messages to reconnected nodes, and replies for failed ones."""

from types import SimpleNamespace

import httpx
import pytest
from flwr.app import Message, MetricRecord, RecordDict

from blossomtune.deployment.flower_grid import RECONNECTS_FILE, ReconnectingGrid
from blossomtune.deployment.flower_internal import (
    ErrorCode,
    HttpGrid,
    get_all_nested_objects,
    get_object_tree,
    set_message_id,
    set_task_identity,
)

NODE_IDS = {0: 10, 1: 11}
PULL_REPLIES = ReconnectingGrid._pull_replies


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
    monkeypatch.setattr(ReconnectingGrid, "_pull_replies", lambda self, ids: [])
    monkeypatch.setattr(HttpGrid, "get_node_ids", lambda self: [10, 11])
    return sent


@pytest.fixture
def failures():
    """Return the failures by client that the grid polls; each is reported once."""
    return {}


@pytest.fixture
def new_nodes():
    """Return the node ids of changed keys, by client, that the grid polls."""
    return {}


def pop_all(values):
    new = dict(values)
    values.clear()
    return new


@pytest.fixture
def grid(sent, failures, new_nodes, tmp_path):
    def poll_failures():
        return pop_all(failures)

    def poll_keys():
        return pop_all(new_nodes)

    socket = tmp_path / "superlink.sock"
    return ReconnectingGrid(socket, "token", poll_failures, NODE_IDS, poll_keys)


def build_messages():
    return [Message(RecordDict(), node, "train") for node in NODE_IDS.values()]


def reply_to(monkeypatch, message):
    """Let the SuperLink have a reply to a sent message."""

    def pull_replies(self, sent_ids):
        original_id = sent_ids[message.metadata.message_id]
        return [(original_id, Message(RecordDict(), reply_to=self._pending[original_id]))]

    monkeypatch.setattr(ReconnectingGrid, "_pull_replies", pull_replies)


def test_unanswered_message_is_sent_again_to_a_reconnected_node(monkeypatch, grid, sent, tmp_path):
    ids = grid.push_messages(build_messages())
    assert len(sent) == 2
    (tmp_path / RECONNECTS_FILE).write_text("11\n")
    assert list(grid.pull_messages(ids)) == []
    assert [message.metadata.dst_node_id for message in sent] == [10, 11, 11]
    assert list(grid.pull_messages(ids)) == []  # each reconnect counts once
    assert len(sent) == 3
    reply_to(monkeypatch, sent[2])
    [reply] = grid.pull_messages(ids)
    assert reply.metadata.reply_to_message_id == ids[1]
    (tmp_path / RECONNECTS_FILE).write_text("11\n11\n")
    monkeypatch.setattr(ReconnectingGrid, "_pull_replies", lambda self, ids: [])
    assert list(grid.pull_messages(ids[:1])) == []
    assert len(sent) == 3  # the message has a reply


def test_queries_stay_until_they_are_answered(monkeypatch, grid, sent):
    [first] = grid.push_messages([Message(RecordDict(), 10, "query")])
    [second] = grid.push_messages([Message(RecordDict(), 11, "query")])
    reply_to(monkeypatch, sent[0])
    [reply] = grid.pull_messages([first])
    assert reply.metadata.reply_to_message_id == first
    ids = grid.push_messages(build_messages())
    assert list(grid._sent_ids) == [second, *ids]
    ids = grid.push_messages(build_messages())
    assert list(grid._sent_ids) == [second, *ids]


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
    assert list(grid.pull_messages(ids)) == []


def test_client_with_another_key_gets_its_message_when_it_connects(
    monkeypatch, grid, sent, new_nodes, tmp_path
):
    ids = grid.push_messages(build_messages())
    new_nodes[1] = 12
    assert list(grid.pull_messages(ids)) == []
    assert len(sent) == 2  # Flower refuses messages to a node that has never connected
    monkeypatch.setattr(HttpGrid, "get_node_ids", lambda self: [10, 12])
    assert list(grid.pull_messages(ids)) == []
    assert [message.metadata.dst_node_id for message in sent] == [10, 11, 12]
    reply_to(monkeypatch, sent[2])
    [reply] = grid.pull_messages(ids)
    assert reply.metadata.reply_to_message_id == ids[1]
    monkeypatch.setattr(ReconnectingGrid, "_pull_replies", lambda self, ids: [])
    assert sorted(grid.get_node_ids()) == [10, 11]  # the server knows the first id
    ids = grid.push_messages(build_messages())
    assert [message.metadata.dst_node_id for message in sent[3:]] == [10, 12]
    (tmp_path / RECONNECTS_FILE).write_text("12\n")
    assert list(grid.pull_messages(ids)) == []
    assert [message.metadata.dst_node_id for message in sent[3:]] == [10, 12, 12]


def test_revoked_client_fails_until_it_has_another_key(
    monkeypatch, grid, sent, new_nodes, failures
):
    ids = grid.push_messages(build_messages())
    new_nodes[1] = None
    grid.get_node_ids()
    failures[1] = "its SuperNode ended, because its key is refused"
    [reply] = grid.pull_messages(ids)
    assert (reply.metadata.reply_to_message_id, reply.error.reason) == (
        ids[1],
        "its key was revoked",
    )
    grid.push_messages(build_messages())
    assert [message.metadata.dst_node_id for message in sent] == [10, 11, 10]
    new_nodes[1] = 12
    monkeypatch.setattr(HttpGrid, "get_node_ids", lambda self: [10, 12])
    grid.get_node_ids()
    grid.push_messages(build_messages())
    assert [message.metadata.dst_node_id for message in sent[-2:]] == [10, 12]


class SuperLinkClient:
    """Runtime API of a SuperLink that holds the objects of replies.

    Args:
        replies: Pairs of the message that is replied to and the reply.
    """

    def __init__(self, replies):
        self.replies, self.confirmed = replies, []
        objects = [get_all_nested_objects(reply) for _, reply in replies]
        self.contents = {i: item.deflate() for group in objects for i, item in group.items()}

    def PullMessages(self, request):  # noqa: N802 - as in Flower
        return SimpleNamespace(
            messages_list=[
                SimpleNamespace(
                    metadata=SimpleNamespace(
                        message_id=reply.object_id, reply_to_message_id=message.metadata.message_id
                    )
                )
                for message, reply in self.replies
            ],
            message_object_trees=[get_object_tree(reply) for _, reply in self.replies],
        )

    def PullObject(self, request):  # noqa: N802 - as in Flower
        content = self.contents.get(request.object_id)
        if isinstance(content, Exception):
            raise content
        found = content is not None
        return SimpleNamespace(object_found=found, object_available=True, object_content=content)

    def ConfirmMessageReceived(self, request):  # noqa: N802 - as in Flower
        self.confirmed.append(request.message_object_id)


@pytest.fixture
def superlink(grid, sent, monkeypatch):
    """Return a SuperLink that has a reply to each of two sent messages, number 0 and 1."""
    monkeypatch.setattr(ReconnectingGrid, "_pull_replies", PULL_REPLIES)
    monkeypatch.setattr(HttpGrid, "run", SimpleNamespace(run_id=1))
    grid.push_messages(build_messages())
    replies = [
        (message, Message(RecordDict({"metrics": MetricRecord({"x": number})}), reply_to=message))
        for number, message in enumerate(sent)
    ]
    grid._client = SuperLinkClient(replies)
    return grid._client


def pull(grid, sent):
    return list(grid.pull_messages([message.metadata.message_id for message in sent]))


def test_unreadable_reply_is_an_error_of_its_client_alone(grid, sent, superlink):
    reply = superlink.replies[1][1]
    superlink.contents[reply.object_id] = b"no message"
    first, second = pull(grid, sent)
    assert first.content["metrics"] == {"x": 0}
    assert second.error.reason.startswith("the reply cannot be read: ")
    assert second.metadata.reply_to_message_id == sent[1].metadata.message_id
    assert superlink.confirmed == [r.object_id for _, r in superlink.replies]


def test_missing_object_is_an_error_of_its_client_alone(grid, sent, superlink):
    del superlink.contents[superlink.replies[1][1].content.object_id]
    first, second = pull(grid, sent)
    assert first.has_content()
    assert "could not be found" in second.error.reason


def test_reply_to_another_clients_message_counts_for_its_sender(grid, sent, superlink):
    message, _ = superlink.replies[1]
    superlink.replies[1] = message, superlink.replies[0][1]
    first, second = pull(grid, sent)
    assert [r.metadata.reply_to_message_id for r in (first, second)] == [
        m.metadata.message_id for m in sent
    ]


def test_message_that_is_no_reply_is_ignored(grid, sent, superlink):
    superlink.replies[1] = Message(RecordDict(), 1, "train"), superlink.replies[1][1]
    [reply] = pull(grid, sent)
    assert reply.content["metrics"] == {"x": 0}


def test_ended_superlink_is_no_failure_of_a_client(grid, sent, superlink):
    superlink.contents[superlink.replies[1][1].object_id] = httpx.ConnectError("it is gone")
    with pytest.raises(httpx.ConnectError):
        pull(grid, sent)

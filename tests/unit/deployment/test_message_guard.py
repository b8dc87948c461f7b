"""A SuperNode's messages against the state of a real SuperLink, called as Flower's handlers do."""

import time

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment import message_guard, superlink
from blossomtune.deployment.message_guard import MessageGuard, calling_node

HEARTBEAT_SECONDS = 30


class Link:
    """State of a SuperLink with a run and two nodes that are online."""

    def __init__(self):
        config = superlink._build_config("127.0.0.1", 1, None)
        app = flower.create_superlink_app(config, flower.SuperLinkLifespan)
        self.state = app.state.linkstate_factory.state()
        self.objects = self.state.object_store
        MessageGuard(self.state)
        aid, federation = "<none>", "@none/default"
        self.run = self.state.create_run(
            None, None, None, {}, federation, None, aid, flower.TaskType.SERVER_APP
        )
        self.nodes = [self.state.create_node(aid, "", bytes([i]), 0) for i in range(2)]
        for node in self.nodes:
            assert self.state.activate_node(node, HEARTBEAT_SECONDS)

    def call_as(self, node, function, *arguments):
        """Call a function as if a node had sent the request; None for the server."""
        token = calling_node.set(node)
        try:
            return function(*arguments)
        finally:
            calling_node.reset(token)

    def announce(self, message, node, tree=None):
        """Announce a message in the name of a node; return the ids to upload and the session."""
        message.metadata.__dict__["_message_id"] = message.object_id
        session = self.state.start_session(self.run)
        tree = tree or flower.get_object_tree(message)
        store = self.state.store_message_and_object_tree
        is_stored, missing = self.call_as(node, store, message, tree, session)
        assert is_stored or not missing
        return missing, session

    def upload(self, message, node, session, ids):
        """Upload objects of a message; return whether each was stored."""
        contents = {i: o.deflate() for i, o in flower.get_all_nested_objects(message).items()}
        return [
            self.call_as(node, self.state.store_object, self.run, session, i, contents[i])
            for i in ids
        ]

    def send(self, message, node=None):
        """Announce and upload a message."""
        ids, session = self.announce(message, node)
        assert ids
        assert all(self.upload(message, node, session, ids))

    def pull(self, *requests):
        """Return the server's replies to requests, as message ids or error codes."""
        replies = self.state.get_message_res({r.metadata.message_id for r in requests}, self.run)
        return [r.error.code if r.has_error() else r.metadata.message_id for r in replies]


@pytest.fixture
def link():
    link = Link()
    flower.set_task_identity(1, link.run, 1)
    return link


def build_content(size=1000):
    return RecordDict({"a": ArrayRecord({"a": Array(np.arange(size, dtype=np.float32))})})


def request_to(node, **keys):
    return Message(build_content(**keys), node, "train")


def reply_to(request, sender=None, **keys):
    reply = Message(build_content(**keys), reply_to=request)
    reply.metadata._src_node_id = sender or request.metadata.dst_node_id
    return reply


def test_reply_is_delivered_when_it_is_complete(link):
    north, south = link.nodes
    requests = [request_to(node) for node in (north, south)]
    for request in requests:
        link.send(request)
    slow, fast = (reply_to(request, size=2000) for request in requests)
    ids, session = link.announce(slow, north)
    link.send(fast, south)
    started = time.monotonic()
    assert link.pull(*requests) == [fast.metadata.message_id]
    assert all(link.upload(slow, north, session, ids[:-1]))
    assert link.pull(requests[0]) == []
    assert all(link.upload(slow, north, session, ids[-1:]))
    assert link.pull(requests[0]) == [slow.metadata.message_id]
    assert time.monotonic() - started < 5


def test_reply_that_is_announced_twice_is_delivered(link):
    request = request_to(link.nodes[0])
    link.send(request)
    reply = reply_to(request)
    link.send(reply, link.nodes[0])
    assert link.announce(reply, link.nodes[0])[0] == []
    assert link.pull(request) == [reply.metadata.message_id]


def test_node_that_loses_its_network_may_reply_later(link):
    node = link.nodes[0]
    request = request_to(node)
    link.send(request)
    reply = reply_to(request)
    ids, session = link.announce(reply, node)
    link.state.deactivate_node(node)
    assert link.pull(request) == []
    assert all(link.upload(reply, node, session, ids))
    assert link.pull(request) == [reply.metadata.message_id]


def test_reply_counts_as_a_heartbeat(link):
    node = link.nodes[0]
    request = request_to(node)
    link.send(request)
    link.state.deactivate_node(node)
    link.send(reply_to(request), node)
    next_request = request_to(node, size=1001)
    link.send(next_request)
    assert link.pull(next_request) == []


def test_request_to_an_offline_node_is_an_error_at_once(link):
    link.state.deactivate_node(link.nodes[0])
    requests = [request_to(node) for node in link.nodes]
    for request in requests:
        link.send(request)
    assert link.pull(*requests) == [flower.ErrorCode.NODE_UNAVAILABLE]
    link.state.activate_node(link.nodes[0], HEARTBEAT_SECONDS)
    again = request_to(link.nodes[0], size=1001)
    link.send(again)
    assert link.pull(again) == []


def test_late_reply_is_refused_and_leaves_nothing(link):
    first, second = (request_to(link.nodes[0], size=size) for size in (1000, 1001))
    link.send(first)
    late = reply_to(first)
    ids, session = link.announce(late, link.nodes[0])
    link.send(second)
    assert not any(link.upload(late, link.nodes[0], session, ids))
    assert link.announce(late, link.nodes[0])[0] == []
    assert set(link.objects.store) == set(flower.get_all_nested_objects(second))
    assert not link.state._object_push_sessions


@pytest.mark.parametrize("is_request", [False, True])
def test_message_in_the_name_of_another_is_refused(link, is_request):
    north, south = link.nodes
    request = request_to(south)
    link.send(request)
    message = request_to(south, size=7) if is_request else reply_to(request, sender=south)
    assert link.announce(message, north)[0] == []
    assert link.pull(request) == []
    reply = reply_to(request)
    link.send(reply, south)
    assert link.pull(request) == [reply.metadata.message_id]


def test_second_reply_to_a_request_is_refused(link):
    request = request_to(link.nodes[0])
    link.send(request)
    first, second = (reply_to(request, size=size) for size in (10, 20))
    link.send(first, link.nodes[0])
    assert link.announce(second, link.nodes[0])[0] == []
    assert link.pull(request) == [first.metadata.message_id]


def test_reply_larger_than_requests_is_refused(link, monkeypatch):
    monkeypatch.setattr(message_guard, "REPLY_SLACK_BYTES", 1000)
    request = request_to(link.nodes[0])
    link.send(request)
    reply = reply_to(request, size=2000)
    ids, session = link.announce(reply, link.nodes[0])
    stored = link.upload(reply, link.nodes[0], session, ids)
    assert not all(stored)
    # a new session for the same reply has the same limit
    ids, session = link.announce(reply, link.nodes[0])
    assert not all(link.upload(reply, link.nodes[0], session, ids))
    assert link.pull(request) == []


def build_tree(*ids):
    """Return a tree in which each object has the next one twice as a child."""
    tree = flower.ObjectTree(object_id=ids[-1])
    for object_id in reversed(ids[:-1]):
        # the second one has no children here, but in the store it would have
        bare = flower.ObjectTree(object_id=tree.object_id)
        tree = flower.ObjectTree(object_id=object_id, children=[tree, bare])
    return tree


def test_tree_that_repeats_itself_is_refused(link):
    """Flower would follow 2^40 paths, with its store locked."""
    request = request_to(link.nodes[0])
    link.send(request)
    reply = reply_to(request)
    tree = build_tree(reply.object_id, *(f"{i:064x}" for i in range(40)))
    assert link.announce(reply, link.nodes[0], tree)[0] == []
    assert link.announce(reply, link.nodes[0])[0] != []


def test_tree_of_too_many_or_invalid_objects_is_refused(link, monkeypatch):
    monkeypatch.setattr(message_guard, "MAX_OBJECTS", 100)
    request = request_to(link.nodes[0])
    link.send(request)
    reply = reply_to(request)
    for ids in ([f"{i:064x}" for i in range(100)], ["../key.pem"]):
        children = [flower.ObjectTree(object_id=i) for i in ids]
        tree = flower.ObjectTree(object_id=reply.object_id, children=children)
        assert link.announce(reply, link.nodes[0], tree)[0] == []
    other = flower.get_object_tree(reply_to(request, size=3))
    assert link.announce(reply, link.nodes[0], other)[0] == []
    assert set(link.objects.store) == set(flower.get_all_nested_objects(request))
    assert not link.state._object_push_sessions

"""A SuperNode's messages against the state of a real SuperLink, called as Flower's handlers do."""

import time

import pytest
from superlink_state import HEARTBEAT_SECONDS, reply_to, request_to

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment import message_guard


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

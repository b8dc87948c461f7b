"""Delivery of requests by the state of a real SuperLink, whose nodes ask through the guard."""

import asyncio
import threading
import time

import pytest
from superlink_state import reply_to, request_to

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment import request_delivery
from blossomtune.deployment.fleet_guard import QUESTION_PATH, FleetGuard

SOON = 5
"""Seconds that a test waits for what should come at once."""


def list_requests(link, node, **keys):
    return [message.metadata.message_id for message in link.state.get_message_ins(node, 1, **keys)]


def confirm(link, request):
    """Confirm that a request was received, as Flower's handler does."""
    link.state.object_store.delete(request.metadata.message_id)


def hold(link, node, connection=None):
    """Hold a question of a node; return for how many seconds it was held."""

    async def wait_for_the_end():
        await (connection.wait() if connection else asyncio.sleep(60))

    async def measure():
        started = time.monotonic()
        await link.requests.hold(node, wait_for_the_end)
        return time.monotonic() - started

    return measure()


def test_request_is_delivered_when_it_is_complete(link):
    node, other = link.nodes
    request = request_to(node)
    ids, session = link.announce(request, None)
    link.upload(request, None, session, ids[:-1])
    assert list_requests(link, node) == []
    link.upload(request, None, session, ids[-1:])
    assert list_requests(link, other) == []
    assert list_requests(link, node, run_id=link.run + 1) == []
    assert list_requests(link, node, run_id=link.run) == [request.metadata.message_id]
    assert request.metadata.delivered_at != ""


def test_request_without_objects_of_its_own_is_delivered(link):
    first, second = (request_to(node) for node in link.nodes)
    link.send(first)
    ids, session = link.announce(second, None)
    link.upload(second, None, session, ids)
    for request, node in zip((first, second), link.nodes, strict=True):
        assert list_requests(link, node) == [request.metadata.message_id]


def test_request_is_delivered_again_until_it_is_received(link):
    node = link.nodes[0]
    request = request_to(node)
    link.send(request)
    for _ in range(3):
        assert list_requests(link, node) == [request.metadata.message_id]
    confirm(link, request)
    assert list_requests(link, node) == []


def test_answered_request_is_not_delivered_again(link):
    node = link.nodes[0]
    request = request_to(node)
    link.send(request)
    link.send(reply_to(request), node)
    assert list_requests(link, node) == []


def test_newer_request_replaces_the_one_before(link):
    node = link.nodes[0]
    first, second = request_to(node), request_to(node, size=2000)
    link.send(first)
    link.send(second)
    assert list_requests(link, node) == [second.metadata.message_id]


def test_question_is_answered_when_a_request_is_complete(link):
    node = link.nodes[0]
    request = request_to(node)
    ids, session = link.announce(request, None)

    async def ask_and_send():
        question = asyncio.create_task(hold(link, node))
        await asyncio.sleep(0.1)
        assert not question.done()
        arguments = (request, None, session, ids)
        threading.Thread(target=link.upload, args=arguments).start()  # as Flower's handlers do
        assert await question < SOON
        assert await hold(link, node) < SOON

    asyncio.run(ask_and_send())
    assert link.requests._held == {}


def test_question_is_held_for_a_limited_time(link, monkeypatch):
    monkeypatch.setattr(request_delivery, "HOLD_SECONDS", 0.2)
    assert 0.2 <= asyncio.run(hold(link, link.nodes[0])) < SOON
    assert link.requests._held == {}


def test_question_ends_with_its_connection(link):
    async def ask_and_leave():
        connection = asyncio.Event()
        question = asyncio.create_task(hold(link, link.nodes[0], connection))
        await asyncio.sleep(0.1)
        connection.set()
        return await question

    assert asyncio.run(ask_and_leave()) < SOON
    assert link.requests._held == {}


def test_questions_end_with_the_server(link):
    async def ask_and_close():
        questions = [asyncio.create_task(hold(link, node)) for node in link.nodes]
        await asyncio.sleep(0.1)
        link.requests.close()
        await asyncio.gather(*questions)
        return await hold(link, link.nodes[0])

    assert asyncio.run(ask_and_close()) < SOON


@pytest.mark.parametrize("body", [b"?", b""])
def test_question_without_a_key_names_its_node(link, body):
    node = link.nodes[0]
    link.send(request_to(node))
    question = flower.PullMessagesRequest()
    question.node.node_id = node
    served = []

    async def app(scope, receive, send):
        served.append((await receive())["body"])

    async def ask(content):
        parts = [{"type": "http.request", "body": content}]

        async def receive():
            return parts.pop() if parts else await asyncio.sleep(60)

        guard = FleetGuard(app, link.state, link.requests, has_keys=False)
        scope = {"type": "http", "path": QUESTION_PATH, "headers": []}
        await asyncio.wait_for(guard(scope, receive, None), SOON)

    asyncio.run(ask(question.SerializeToString()))
    with pytest.raises(TimeoutError):  # of no node
        asyncio.run(ask(body))
    assert served == [question.SerializeToString()]

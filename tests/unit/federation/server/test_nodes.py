import time

import pytest
from federation_samples import federation_spec
from flwr.app import Message, MessageType, RecordDict
from node_grid import NodeGrid, answer_number

from blossomtune.deployment.flower_internal import set_task_identity
from blossomtune.errors import UserError
from blossomtune.federation.server import nodes

SPEC = federation_spec(names=("north", "south"), round_timeout=60, min_clients=2)


@pytest.fixture(autouse=True)
def flower_task():
    """Set the task identity that Flower needs to create messages."""
    set_task_identity(task_id=1, run_id=1, node_id=1)


def test_reply_that_arrived_by_the_deadline_counts():
    grid = NodeGrid({7: answer_number(1)})
    messages = [Message(RecordDict(), 7, MessageType.QUERY)]
    [(_, reply)] = nodes.send_and_receive(grid, messages, time.monotonic() - 1)
    assert reply.content == answer_number(1)


def test_replies_are_yielded_with_their_messages():
    grid = NodeGrid({7: answer_number(1), 8: None})
    messages = [Message(RecordDict(), node, MessageType.QUERY) for node in (7, 8)]
    [(message, reply)] = nodes.send_and_receive(grid, messages, time.monotonic() + 0.5)
    assert message is messages[0]
    assert reply.content == answer_number(1)


def test_few_replies_are_pulled_at_once():
    grid = NodeGrid({node: answer_number(node) for node in range(10)})
    messages = [Message(RecordDict(), node, MessageType.QUERY) for node in range(10)]
    sizes, pull = [], grid.pull_messages
    grid.pull_messages = lambda ids: sizes.append(len(ids)) or pull(ids)
    pairs = nodes.send_and_receive(grid, messages, time.monotonic() + 5)
    assert {message.metadata.dst_node_id for message, _ in pairs} == set(range(10))
    assert max(sizes) == nodes.REPLIES_PER_PULL < 10


@pytest.mark.parametrize(("answer", "pause"), [(answer_number(1), 0.1), (None, 2)])
def test_pause_is_longer_only_after_asking_long_in_vain(monkeypatch, answer, pause):
    clock, pauses = [0.0], []

    def sleep(seconds):
        pauses.append(seconds)
        clock[0] = 1000  # beyond the deadline

    def pull(ids):
        clock[0] += 5
        return NodeGrid.pull_messages(grid, ids)

    grid = NodeGrid({7: answer, 8: None})
    grid.pull_messages = pull
    monkeypatch.setattr(nodes.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(nodes.time, "sleep", sleep)
    messages = [Message(RecordDict(), node, MessageType.QUERY) for node in (7, 8)]
    list(nodes.send_and_receive(grid, messages, 100))
    assert pauses == [pause]


def test_pauses_grow_with_the_time_since_the_last_reply(monkeypatch):
    clock, pauses = [0.0], []

    def sleep(seconds):
        pauses.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(nodes.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(nodes.time, "sleep", sleep)
    messages = [Message(RecordDict(), 7, MessageType.QUERY)]
    list(nodes.send_and_receive(NodeGrid({7: None}), messages, 110))
    assert pauses[:20] == [0.1] * 20
    assert pauses == sorted(pauses)
    assert pauses[-1] == 2


def test_missing_clients_of_a_round_are_named_with_reasons():
    with pytest.raises(UserError) as error:
        nodes.require_enough_clients(SPEC, 1, 3, [(1, "no answer in 60 s")], round_number=4)
    assert str(error.value).splitlines()[:3] == [
        "round 4 stops: 1 of the 3 clients that federation.strategy asks for answered",
        "  missing or failed:",
        "  1 (south): no answer in 60 s",
    ]

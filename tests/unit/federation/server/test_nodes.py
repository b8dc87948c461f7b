import time

import pytest
from federation_samples import federation_spec
from flwr.app import ConfigRecord, Error, Message, MessageType, MetricRecord, RecordDict

from blossomtune.deployment.flower_internal import set_message_id, set_task_identity
from blossomtune.errors import UserError
from blossomtune.federation.server import nodes

SPEC = federation_spec(names=("north", "south"), round_timeout=60, min_clients=2)


@pytest.fixture(autouse=True)
def flower_task():
    """Set the task identity that Flower needs to create messages."""
    set_task_identity(task_id=1, run_id=1, node_id=1)


class FakeGrid:
    """Answers each message with the content, the error or the silence of its node."""

    def __init__(self, answers):
        self.answers, self.replies = answers, {}

    def get_node_ids(self):
        return list(self.answers)

    def push_messages(self, messages):
        for number, message in enumerate(messages):
            set_message_id(message, f"{number}-{message.metadata.dst_node_id}")
            answer = self.answers[message.metadata.dst_node_id]
            if answer is not None:
                self.replies[message.metadata.message_id] = Message(answer, reply_to=message)
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids):
        return [self.replies.pop(i) for i in sorted(message_ids & self.replies.keys())]


def number(client):
    return RecordDict({"metrics": MetricRecord({"client": client})})


def test_nodes_are_found_by_the_numbers_that_they_report():
    assert nodes.discover_clients(FakeGrid({7: number(1), 8: number(0)}), SPEC) == {0: 8, 1: 7}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (number(0), "two nodes say that they are client 0"),
        (number(2), "a node says that it is client 2, of 2"),
        (RecordDict({"metrics": MetricRecord({"client": [1]})}), r"client \[1\], of 2"),
        (RecordDict({"metrics": ConfigRecord({"client": 1})}), "client None, of 2"),
        (RecordDict(), "client None, of 2"),
        (Error(0, "<class 'UserError'>:<'Message: no rows'>"), "no rows"),
    ],
)
def test_node_that_is_no_client_is_named_with_its_error(answer, message):
    with pytest.raises(
        UserError, match=rf"1 of the 2 clients .*\n.*\n  1 \(south\)\n  .*{message}"
    ):
        nodes.discover_clients(FakeGrid({7: number(0), 8: answer}), SPEC)


def test_node_with_the_key_of_another_client_is_rejected():
    grid = FakeGrid({7: number(0), 8: number(1)})
    with pytest.raises(UserError, match="a node says that it is client 1, with another's key"):
        nodes.discover_clients(grid, SPEC, authenticated_clients={7: 0, 8: 0})


def test_silent_node_delays_until_the_timeout_only():
    spec = federation_spec(names=("north", "south"), round_timeout=0.5, min_clients=1)
    started = time.monotonic()
    assert nodes.discover_clients(FakeGrid({7: number(0), 8: None}), spec) == {0: 7}
    assert time.monotonic() - started < 5


def test_replies_are_yielded_with_their_messages():
    grid = FakeGrid({7: number(1), 8: None})
    messages = [Message(RecordDict(), node, MessageType.QUERY) for node in (7, 8)]
    [(message, reply)] = nodes.send_and_receive(grid, messages, time.monotonic() + 0.5)
    assert message is messages[0]
    assert nodes.identify_client(reply, 2) == 1


def test_few_replies_are_pulled_at_once():
    grid = FakeGrid({node: number(node) for node in range(10)})
    messages = [Message(RecordDict(), node, MessageType.QUERY) for node in range(10)]
    sizes, pull = [], grid.pull_messages
    grid.pull_messages = lambda ids: sizes.append(len(ids)) or pull(ids)
    pairs = nodes.send_and_receive(grid, messages, time.monotonic() + 5)
    assert {message.metadata.dst_node_id for message, _ in pairs} == set(range(10))
    assert max(sizes) == nodes.REPLIES_PER_PULL < 10


def test_missing_clients_of_a_round_are_named_with_reasons():
    with pytest.raises(UserError) as error:
        nodes.require_enough_clients(SPEC, 1, 3, [(1, "no answer in 60 s")], round_number=4)
    assert str(error.value).splitlines()[:3] == [
        "round 4 stops: 1 of the 3 clients that federation.strategy asks for answered",
        "  missing or failed:",
        "  1 (south): no answer in 60 s",
    ]

"""The server records nodes and messages."""

import pytest
from federation_samples import federation_spec
from flwr.app import Error, Message, MessageType, MetricRecord, RecordDict
from node_grid import NodeGrid, answer_number

from blossomtune.artifacts.audit_events import (
    ClientJoined,
    NodeRefused,
    ReplyReceived,
    RequestSent,
)
from blossomtune.artifacts.audit_log import AuditLog, read_audit_log
from blossomtune.artifacts.round_record import ClientFailure, ClientTraffic
from blossomtune.deployment.flower_internal import set_message_id
from blossomtune.federation.server.audit import ServerAudit
from blossomtune.federation.server.membership import Membership

pytestmark = pytest.mark.usefixtures("flower_task")

SPEC = federation_spec(names=("north", "south"), round_timeout=0.2, min_clients=1)
TRAFFIC = {"name": "x", "bytes_down": 1, "bytes_up": 1}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def read_events(path):
    return [entry.event for entry in read_audit_log(path)]


def test_joined_and_refused_nodes_are_recorded_with_their_keys(path):
    audit = ServerAudit(AuditLog(path), {7: "SHA256:first", 8: "SHA256:second"})
    grid = NodeGrid({7: answer_number(0), 8: answer_number(0)})
    Membership(grid, SPEC, {7: 0, 8: 1}, audit).wait_at_start()
    reason = "a node says that it is client 0, with another's key"
    assert read_events(path) == [
        ClientJoined(client=0, node=7, key="SHA256:first"),
        NodeRefused(node=8, key="SHA256:second", reason=reason),
    ]


def test_replaced_key_is_recorded_before_the_replies(path):
    fingerprints = {7: "SHA256:first"}
    audit = ServerAudit(AuditLog(path), fingerprints)
    audit.record_join(0, 7)
    audit.record_replies(1, MessageType.TRAIN, [])
    fingerprints[7] = "SHA256:second"
    for number in (2, 3):
        audit.record_replies(number, MessageType.TRAIN, [])
    assert [event.key for event in read_events(path)] == ["SHA256:first", "SHA256:second"]


def test_nodes_without_keys_are_recorded(path):
    grid = NodeGrid({7: answer_number(1), 8: answer_number(0)})
    Membership(grid, SPEC, audit=ServerAudit(AuditLog(path))).wait_at_start()
    assert read_events(path) == [
        ClientJoined(client=1, node=7, key=None),
        ClientJoined(client=0, node=8, key=None),
    ]


def test_replies_are_recorded_with_their_content_and_why_they_do_not_count(path):
    contents = {i: RecordDict({"metrics": MetricRecord({"number": i})}) for i in range(5)}
    audit = ServerAudit(AuditLog(path))
    audit.record_requests(3, MessageType.TRAIN, {0: contents[0], 1: contents[0], 2: contents[1]})
    requests = [Message(contents[0], 7, MessageType.TRAIN) for _ in range(3)]
    for request in requests:
        set_message_id(request, "1")
    audit.note_reply(2, Message(contents[4], reply_to=requests[2]))
    audit.note_reply(0, Message(contents[3], reply_to=requests[0]))
    audit.note_reply(1, Message(Error(0, "no memory"), reply_to=requests[1]))
    audit.record_replies(
        3,
        MessageType.TRAIN,
        [
            ClientTraffic(client=0, **TRAFFIC),
            ClientFailure(client=1, **TRAFFIC, reason="no memory"),
            ClientFailure(client=2, **TRAFFIC, reason="not finite"),
            ClientFailure(client=4, **TRAFFIC, reason="not there"),
        ],
    )
    ids = {number: content.object_id for number, content in contents.items()}
    assert len(set(ids.values())) == len(ids)
    train = {"round": 3, "task": "train"}
    assert read_events(path) == [
        *(RequestSent(**train, client=client, sha256=ids[i]) for client, i in enumerate((0, 0, 1))),
        ReplyReceived(**train, client=0, sha256=ids[3], reason=None),
        ReplyReceived(**train, client=1, sha256=None, reason="no memory"),
        ReplyReceived(**train, client=2, sha256=ids[4], reason="not finite"),
        ReplyReceived(**train, client=4, sha256=None, reason="not there"),
    ]


def test_replies_of_a_round_are_not_those_of_the_round_before(path):
    audit = ServerAudit(AuditLog(path))
    content = RecordDict({"metrics": MetricRecord({"number": 1})})
    request = Message(content, 7, MessageType.EVALUATE)
    set_message_id(request, "1")
    audit.note_reply(0, Message(content, reply_to=request))
    audit.record_requests(2, MessageType.EVALUATE, {0: content})
    failure = ClientFailure(client=0, **TRAFFIC, reason="no answer in 5 s")
    audit.record_replies(2, MessageType.EVALUATE, [failure])
    assert read_events(path)[-1].sha256 is None

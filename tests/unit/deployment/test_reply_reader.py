"""A client's reply is read from objects that may be anything."""

import json
import random

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from reply_mutations import check_mutations

from blossomtune.deployment.flower_internal import get_all_nested_objects, set_task_identity
from blossomtune.deployment.reply_reader import (
    MAX_METADATA_BYTES,
    build_unreadable_reply,
    compute_max_bytes,
    limit_bytes,
    read_reply,
)
from blossomtune.federation.server.tensor_spool import TensorSpool

ARRAY = Array(np.arange(60_000, dtype=np.float32))  # more than a reply's other bytes
CONTENT = RecordDict({"adapter": ArrayRecord({"a": ARRAY}), "metrics": MetricRecord({"loss": 0.5})})


@pytest.fixture
def request_message():
    """Return a message to a client, as large as its reply."""
    set_task_identity(task_id=1, run_id=1, node_id=1)
    return Message(CONTENT, 7, "train")


def deflate(message):
    return {i: item.deflate() for i, item in get_all_nested_objects(message).items()}


def replace_body(contents, kind, body):
    """Replace the body of the object of a kind, and keep its id."""
    [object_id] = [i for i, content in contents.items() if content.startswith(kind + b" ")]
    head = contents[object_id].split(b"\0", 1)[0].rsplit(b" ", 1)[0]
    contents[object_id] = head + b" %d\0" % len(body) + body


def test_reply_is_read_as_it_was_sent(request_message):
    reply = Message(CONTENT, reply_to=request_message)
    read = read_reply(deflate(reply), reply.object_id, request_message)
    assert read.content == CONTENT
    assert read.content["adapter"]["a"].data == ARRAY.data


def test_error_is_read_as_it_was_sent(request_message):
    reply = Message(Error(0, "no memory"), reply_to=request_message)
    read = read_reply(deflate(reply), reply.object_id, request_message)
    assert read.error.reason == "no memory"


def test_reply_belongs_to_the_request_whatever_it_says(request_message):
    other = Message(RecordDict(), 8, "train")
    reply = Message(CONTENT, reply_to=other)
    read = read_reply(deflate(reply), reply.object_id, request_message).metadata
    expected = Message(CONTENT, reply_to=request_message).metadata
    assert (read.src_node_id, read.dst_node_id) == (expected.src_node_id, expected.dst_node_id)
    assert (read.message_type, read.reply_to_message_id) == ("train", expected.reply_to_message_id)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"Message", b"no protobuf"),
        (b"RecordDict", b"no JSON"),
        (b"RecordDict", b"{}"),
        (b"RecordDict", b"[" * 100_000),
        (b"ArrayRecord", b'{"a": "0"}'),
        (b"Array", b"{}"),
        (b"Array", b'{"arraychunk_ids": [9], "dtype": "", "shape": [], "stype": ""}'),
        (b"Array", b'{"arraychunk_ids": [0], "dtype": 1, "shape": 1, "stype": 1}'),
        (b"MetricRecord", b"no protobuf"),
    ],
)
def test_spoilt_object_is_an_error(request_message, kind, body):
    reply = Message(CONTENT, reply_to=request_message)
    contents = deflate(reply)
    replace_body(contents, kind, body)
    with pytest.raises(Exception) as error:
        read_reply(contents, reply.object_id, request_message)
    reason = build_unreadable_reply(error.value, request_message).error.reason
    assert reason.startswith("the reply cannot be read: ")
    assert len(reason) < 600


@pytest.mark.parametrize("child", [ArrayRecord(), MetricRecord({"x": 1}), ARRAY])
def test_object_of_another_kind_is_an_error(request_message, child):
    reply = Message(CONTENT, reply_to=request_message)
    contents = deflate(reply)
    record_id = CONTENT.object_id
    contents[record_id] = child.deflate()
    contents |= {i: item.deflate() for i, item in (child.children or {}).items()}
    with pytest.raises((TypeError, ValueError)):
        read_reply(contents, reply.object_id, request_message)


def test_object_that_is_no_message_is_an_error(request_message):
    contents = {i: item.deflate() for i, item in get_all_nested_objects(CONTENT).items()}
    with pytest.raises(ValueError, match="it is no message, but a RecordDict"):
        read_reply(contents, CONTENT.object_id, request_message)


def test_array_that_repeats_its_chunks_is_an_error(request_message):
    """A few kilobytes would become more than any memory holds."""
    reply = Message(CONTENT, reply_to=request_message)
    contents = deflate(reply)
    array = {"dtype": "float32", "shape": [60_000], "stype": "numpy.ndarray"}
    body = json.dumps(array | {"arraychunk_ids": [0] * 10_000}).encode()
    replace_body(contents, b"Array", body)
    with pytest.raises(ValueError, match="its arrays have more than"):
        read_reply(contents, reply.object_id, request_message)


def test_reply_may_be_as_large_as_its_request():
    assert compute_max_bytes(RecordDict()) == MAX_METADATA_BYTES
    assert compute_max_bytes(CONTENT) == len(ARRAY.data) + len("a") + MAX_METADATA_BYTES


def test_pulling_ends_at_the_largest_size():
    pull = limit_bytes(lambda object_id: bytes(10), 25)
    assert [pull("a"), pull("b")] == [bytes(10)] * 2
    with pytest.raises(ValueError, match="it has more than 25 bytes"):
        pull("c")


def test_mutated_replies_are_read_or_are_failures_of_their_client(tmp_path):
    """tests/e2e/test_reply_fuzzing.py does the same with more cases."""
    with TensorSpool(tmp_path) as spool:
        counts = check_mutations(random.Random(99), 500, spool)
    assert min(counts.values()) > 0, counts

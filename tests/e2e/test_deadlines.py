"""The round's deadline holds whatever one client does with its key."""

import time

import numpy as np
import pytest
from federate_process import SIMULATED_KEYS
from fleet_node import replace_supernode
from flwr.app import Array, ArrayRecord, MessageType, RecordDict

pytestmark = pytest.mark.engine

ROUND_TIMEOUT, ATTACK_SECONDS = 60, 20


@pytest.fixture
def start(engine, federate, federation_files):
    """Return a function that starts the federation on the process engine."""
    engine("process")
    return lambda **keys: federate(federation_files, engine="process", **(SIMULATED_KEYS | keys))


def announce_without_end(node, request):
    """Announce a reply and upload all of it but the last object; return whether it was stored."""
    content = RecordDict({"arrays": ArrayRecord({"a": Array(np.zeros(1000, np.float32))})})
    reply = node.build_reply(request, content)
    object_ids, session = node.announce(reply)
    return all(node.upload(reply, session, object_ids[:-1]))


def test_reply_that_is_announced_and_never_uploaded_ends_with_the_round(start):
    process = start(min_clients=2, round_timeout=ROUND_TIMEOUT, rounds=2)
    process.wait_for_round(1)
    node = replace_supernode(process, 1)
    node.activate()
    is_stored, deadline = False, time.monotonic() + ATTACK_SECONDS
    while time.monotonic() < deadline:  # a node that connects again is asked again
        for request, _ in node.pull():
            if request.metadata.message_type == MessageType.TRAIN:
                is_stored = announce_without_end(node, request)
        time.sleep(0.1)
    assert is_stored
    output = process.finish()
    assert process.list_clients() == [[0, 1, 2], [0, 2]], output
    assert f"failed: client 1 (lab 1): no answer in {ROUND_TIMEOUT} s" in output
    # Flower alone waits for three minutes
    assert process.read_rounds()[-1]["seconds"] < ROUND_TIMEOUT + 60

"""A client with a valid key attacks a server of engine external in every round."""

import re
from contextlib import suppress

import httpx
import pytest
from external_nodes import NAMES, start_external
from fleet_node import FleetNode
from flwr.app import Error, Message, MessageType, MetricRecord, RecordDict
from invalid_replies import FAULTS, build_invalid_reply
from patience import wait_until

from blossomtune.federation.messages.versions import encode_versions

pytestmark = pytest.mark.engine

ATTACKER = 1
TERMINAL = "Message: \x1b[2J\x1b[31mround 9/9 · all is well\r\n" + "x" * 40_000
"""An error whose text clears the terminal, forges a line and is long."""

ROUND_TIMEOUT = 200
"""Seconds for the last round, and for the honest clients' trainers to start beside other tests."""

REASONS = [*FAULTS.values(), "round 9/9", f"no answer in {ROUND_TIMEOUT} s"]
"""A part of the reason by round."""


def try_to_activate(node):
    """Connect; return False if the server has not registered the key yet."""
    with suppress(httpx.HTTPStatusError):
        node.activate()
        return True
    return False


def attack(node):
    """Reply to one request after the other; an object of the last reply is never uploaded."""
    query, _ = node.receive(MessageType.QUERY)
    content = {"metrics": MetricRecord({"client": ATTACKER}), "versions": encode_versions()}
    node.send(node.build_reply(query, RecordDict(content)))
    for fault in FAULTS:
        request, tree = node.receive(MessageType.TRAIN)
        content = node.download(request, tree)
        node.send(node.build_reply(request, build_invalid_reply(content, fault)))
    request, _ = node.receive(MessageType.TRAIN)
    node.send(Message(Error(0, TERMINAL), reply_to=request))
    request, tree = node.receive(MessageType.TRAIN)
    reply = node.build_reply(request, node.download(request, tree))
    object_ids, session = node.announce(reply)
    assert all(node.upload(reply, session, object_ids[:-1]))


def test_adapter_is_that_of_a_run_without_the_attacker(
    engine, federate, federation_files, hash_without_client, tmp_path
):
    engine("process")
    keys = {"optimizer_state": "kept", "min_clients": 2, "quarantine": 0}
    keys |= {"rounds": len(REASONS), "round_timeout": ROUND_TIMEOUT}
    honest = [client for client in range(len(NAMES)) if client != ATTACKER]
    with start_external(federate, federation_files, tmp_path, honest, **keys) as started:
        process, store, _ = started
        node = FleetNode(process.get_run_folder(), NAMES[ATTACKER], store.folder)
        wait_until(lambda: try_to_activate(node))
        attack(node)
        output = process.finish()
    records = process.read_rounds()[1:]
    assert process.list_clients() == [honest] * len(REASONS), output
    for record, reason in zip(records, REASONS, strict=True):
        [failure] = record["failed"]
        assert failure["client"] == ATTACKER
        assert reason in failure["reason"], failure
        assert len(failure["reason"]) <= 500
    # Flower alone waits for three minutes more
    assert records[-1]["seconds"] < ROUND_TIMEOUT + 60
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", output)
    assert max(map(len, output.splitlines())) < 1000
    assert "\nround 9/9 · all is well" not in output
    assert process.hash_adapter() == hash_without_client(ATTACKER, 1, rounds=len(REASONS))

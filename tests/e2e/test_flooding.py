"""Floods of a SuperLink by a client with a key, and by strangers."""

import socket
import threading
from contextlib import suppress

import psutil
import pytest
from federate_process import EXPECTED_KEYS
from fleet_node import replace_supernode
from flwr.proto.fleet_pb2 import PullMessagesRequest  # oracle

pytestmark = pytest.mark.engine

ROUND_TIMEOUT, ROUNDS = 60, 4
UPLOAD, PULL = "/v1/fleet/push-object", "/v1/fleet/pull-messages"


def ask_without_end(node, stop):
    """Ask for messages as fast as possible, on one connection after another."""
    body = PullMessagesRequest(node=node.node).SerializeToString()
    while not stop.is_set():
        with suppress(OSError), node.connect() as connection:
            while not stop.is_set():
                connection.sendall(node.build_head(PULL, len(body)) + body)
                answer = connection.recv(2**16)
                if not answer:
                    break
                node.answers.add(answer.partition(b"\r\n")[0])


def upload_slowly(node, stop):
    """Upload a byte per second."""
    with suppress(OSError), node.connect() as connection:
        connection.sendall(node.build_head(UPLOAD, 2**22))
        while not stop.wait(1):
            connection.sendall(b"a")


def upload_without_key(node, stop):
    """Send bodies of ten gigabytes, without a key."""
    while not stop.is_set():
        with suppress(OSError), node.connect() as connection:
            connection.sendall(node.build_head(UPLOAD, 10**10, with_key=False))
            while not stop.wait(0.05):
                connection.sendall(bytes(2**20))


def hold_connections(node, stop):
    """Hold a hundred connections, half of them without a TLS handshake."""
    address = "127.0.0.1", node.port
    connections = [socket.create_connection(address) for _ in range(50)]
    with suppress(OSError):
        connections += [node.connect() for _ in range(50)]
    stop.wait()
    for connection in connections:
        connection.close()


ATTACKS = [ask_without_end] * 3 + [upload_slowly] * 8 + [upload_without_key, hold_connections]


def test_floods_do_not_keep_others_from_training(engine, federate, federation_files):
    engine("process")
    keys = {"min_clients": 2, "round_timeout": ROUND_TIMEOUT, "rounds": ROUNDS, "quarantine": 1}
    process = federate(federation_files, engine="process", **(EXPECTED_KEYS | keys))
    process.wait_for_round(1)
    superlink = find_superlink(process)
    before = superlink.memory_info().rss
    node = replace_supernode(process, 1)
    node.activate()
    node.answers = set()
    stop = threading.Event()
    threads = [threading.Thread(target=attack, args=(node, stop)) for attack in ATTACKS]
    for thread in threads:
        thread.start()
    peak = before
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            peak = max(peak, superlink.memory_info().rss)
        stop.wait(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    output = process.finish()
    assert process.list_clients() == [[0, 1, 2], *[[0, 2]] * (ROUNDS - 1)], output
    assert all(record["seconds"] < ROUND_TIMEOUT + 60 for record in process.read_rounds()), output
    assert b"HTTP/1.1 200 OK" in node.answers  # at the end of the run, others are cut off
    print(f"from {before / 1e6:.0f} to {peak / 1e6:.0f} MB")
    assert peak - before < 150e6


def find_superlink(process):
    [superlink] = [p for p in process.list_children() if p.name() == "superlink"]
    return superlink

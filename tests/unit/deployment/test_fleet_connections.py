"""Connections of a real server on the loopback address."""

import resource
import socket
import threading
import time

import httpx
import pytest
import uvicorn

from blossomtune.deployment import fleet_connections
from blossomtune.deployment.fleet_connections import BoundedHttpProtocol, allow_many_connections

HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"


async def answer(scope, receive, send):
    """Answer each request with 204, one for ``/slow`` after half a second."""
    if scope["path"] == "/slow":
        time.sleep(0.5)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def address(monkeypatch):
    """Return the address of a server whose limits are small."""
    monkeypatch.setattr(fleet_connections, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(fleet_connections, "MAX_CONNECTIONS", 5)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        answer, http=BoundedHttpProtocol, ws="none", lifespan="off", log_level="critical"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join()


def connect(address, *parts):
    connection = socket.create_connection(address, timeout=5)
    for part in parts:
        connection.sendall(part)
    return connection


def is_closed(connection):
    """Return whether the server closes a connection before it has answered."""
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True


def test_requests_of_one_connection_are_served(address):
    with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}") as client:
        for _ in range(3):
            assert client.get("/").status_code == 204
            time.sleep(0.2)


def test_request_may_take_longer_than_its_head(address):
    connection = connect(address, HEAD.replace(b"/ ", b"/slow "), b"\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize("parts", [(), (HEAD,), (HEAD, b"\r\n", HEAD)])
def test_connection_without_a_whole_head_is_closed(address, parts):
    connection = connect(address, *parts)
    started = time.monotonic()
    if len(parts) == 3:
        connection.recv(1000)
    assert is_closed(connection)
    assert time.monotonic() - started < 2


def test_head_without_end_is_refused(address):
    connection = connect(address, HEAD)
    with pytest.raises(OSError, match=r"reset|pipe"):
        for _ in range(100):
            connection.sendall(b"a: " + b"a" * 2**16 + b"\r\n")


SLOW = HEAD.replace(b"/ ", b"/slow ") + b"\r\n"


def test_request_before_the_end_of_the_last_response_is_served(address):
    connection = connect(address, SLOW + HEAD + b"\r\n")
    received = b""
    while received.count(b"HTTP/1.1 204") < 2:
        received += (data := connection.recv(1000))
        assert data


def test_more_requests_sent_ahead_are_refused(address):
    connection = connect(address, SLOW * 3)
    assert is_closed(connection)


def test_connections_without_a_request_give_way_to_new_ones(address, monkeypatch):
    monkeypatch.setattr(fleet_connections, "HEAD_SECONDS", 30)
    idle = [connect(address) for _ in range(20)]
    assert is_closed(idle[0])
    connection = connect(address, HEAD, b"\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 204")
    for one in idle:
        one.close()


def test_limit_of_open_files_is_raised():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
    try:
        allow_many_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

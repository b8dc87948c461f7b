"""HTTP over sockets in the file system, which only those can use who may use the file."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
from flwr.supercore.protobuf.client import ProtobufClient, ProtobufClientInterceptor

Client = TypeVar("Client", bound=ProtobufClient)

TIMEOUT_SECONDS = 30

RETURNED = "returned"
"""A file beside a SuperLink's socket: a node id a line, for SuperNodes that came back."""


def listening(path: Path) -> socket.socket:
    """A socket at a path, for this user alone."""
    path.unlink(missing_ok=True)
    new = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        new.bind(str(path))
    finally:
        os.umask(before)
    new.listen()
    return new


def connected(
    kind: type[Client],
    path: Path,
    interceptors: Sequence[ProtobufClientInterceptor],
    **more: Any,
) -> Client:
    """One of Flower's clients, by way of a socket.

    Args:
        kind: of client.
        path: of the socket.
        interceptors: what the client does to each request.
        more: other arguments of the client.
    """
    client = kind("http://localhost", interceptors=interceptors, **more)
    client._client.close()
    client._client = httpx.Client(
        transport=httpx.HTTPTransport(uds=str(path)), timeout=TIMEOUT_SECONDS
    )
    return client

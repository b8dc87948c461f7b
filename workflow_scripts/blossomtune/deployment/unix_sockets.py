"""HTTP over sockets in the file system, which only those can use who may use the file."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
from flwr.supercore.protobuf.client import ProtobufClient, ProtobufClientInterceptor

ClientT = TypeVar("ClientT", bound=ProtobufClient)

TIMEOUT_SECONDS = 30

RECONNECTS_FILE = "returned"
"""A file beside a SuperLink's socket: a node id a line, for SuperNodes that came back."""


def listen_on(path: Path) -> socket.socket:
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


def connect_client(
    client_class: type[ClientT],
    path: Path,
    interceptors: Sequence[ProtobufClientInterceptor],
    **client_arguments: Any,
) -> ClientT:
    """One of Flower's clients, by way of a socket.

    Args:
        kind: of client.
        path: of the socket.
        interceptors: what the client does to each request.
        more: other arguments of the client.
    """
    client = client_class("http://localhost", interceptors=interceptors, **client_arguments)
    client._client.close()
    client._client = httpx.Client(
        transport=httpx.HTTPTransport(uds=str(path)), timeout=TIMEOUT_SECONDS
    )
    return client

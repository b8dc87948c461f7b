"""Bound what a connection to the SuperLink's network port can use before it has sent a request."""

import asyncio
import resource
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS, MAX_HEAD_BYTES = 20, 2**16
"""Time and size of a request's head; uvicorn waits for ever and keeps any size."""

MAX_CONNECTIONS = 4096
"""Connections at once; the oldest one without a request is closed for a new one."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Connection that ends unless requests arrive in time, each with a head of limited size."""

    _waiting: ClassVar[dict["BoundedHttpProtocol", None]] = {}  # oldest first
    _timer: asyncio.TimerHandle | None = None
    _head_bytes: int | None = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request, and close another connection if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS and self._waiting:
            next(iter(self._waiting)).transport.abort()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._end_head()

    def data_received(self, data: bytes) -> None:
        """Parse data, unless a request's head becomes too large."""
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > MAX_HEAD_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Start to wait for the rest of a request's head.

        One request may come before the last response has ended: a client can have read all of it
        before the application returns.
        """
        if self.pipeline:
            self.transport.abort()
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """Serve a request."""
        self._end_head()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, until the connection has been idle for too long."""
        is_served = bool(self.pipeline)
        super().on_response_complete()
        if not is_served:
            self._waiting[self] = None

    def _await_head(self) -> None:
        self._end_head()
        self._head_bytes = 0
        self._waiting[self] = None
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _end_head(self) -> None:
        self._head_bytes = None
        self._waiting.pop(self, None)
        if self._timer:
            self._timer.cancel()


def allow_many_connections() -> None:
    """Raise this process's limit of open files to what it may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

"""Bound what a caller of the SuperLink's network port can use.

Flower reads the whole body of a request before it looks at the key, and serves each node as fast
as it asks.
"""

import asyncio
import time
from base64 import b64decode
from collections import defaultdict
from typing import Any

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment.message_guard import ANONYMOUS, calling_node
from blossomtune.deployment.request_delivery import RequestDelivery

FLEET_PREFIX = "/v1/fleet/"
UPLOAD_PATH, QUESTION_PATH = "/v1/fleet/push-object", "/v1/fleet/pull-messages"
CONNECT_PATHS = ("/v1/fleet/register-node", "/v1/fleet/activate-node")
"""Requests with which a SuperNode connects; Flower's answer says why it may not."""

MAX_UPLOAD_BYTES = 2**23
"""Largest body of an upload; Flower uploads 5 MiB at once."""

MAX_BODY_BYTES = 2**20
"""Largest body of another request, such as a list of ``MAX_OBJECTS`` objects."""

MAX_CONNECT_BYTES = 2**12
"""Largest body of a request to connect: a public key and a number."""

BODY_SECONDS = flower.OBJECT_PUSH_SESSION_TTL_SECONDS
"""Seconds that the body of a request may take; Flower forgets an upload after that time."""

MAX_SERVED, MAX_WAITING = 4, 16
"""Requests of a node that are served at once, and that wait for that; a SuperNode sends three."""

REQUESTS_PER_SECOND, BURST = 50, 200
"""Rate from which a node's requests wait. It is above 250 MB/s, since an upload has 5 MiB."""


class RequestError(Exception):
    """A request is refused.

    Args:
        status: Status code of HTTP.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class NodeLimit:
    """Limit of one node's requests: at once, and per second."""

    def __init__(self) -> None:
        self._slots, self._num_waiting = asyncio.Semaphore(MAX_SERVED), 0
        self._tokens, self._updated = float(BURST), time.monotonic()

    async def __aenter__(self) -> None:
        """Wait until a request of the node may be served; raise RequestError if many wait."""
        if self._num_waiting >= MAX_WAITING:
            raise RequestError(429)
        self._num_waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._num_waiting -= 1
        now = time.monotonic()
        refilled = self._tokens + (now - self._updated) * REQUESTS_PER_SECOND
        self._tokens, self._updated = min(refilled, BURST) - 1, now
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / REQUESTS_PER_SECOND)

    async def __aexit__(self, *_: object) -> None:
        """Let the node's next request be served."""
        self._slots.release()


class FleetGuard:
    """ASGI application that serves the Fleet API to known nodes, within limits.

    Other paths are answered with 404. A request without a known key and its signature ends before
    its body is read, unless a SuperNode asks to connect.

    Args:
        app: The SuperLink's application.
        state: State of the SuperLink.
        requests: Requests to its nodes; a question for them is held until there is one.
        has_keys: Whether nodes authenticate.
    """

    def __init__(
        self, app: Any, state: flower.LinkState, requests: RequestDelivery, *, has_keys: bool
    ) -> None:
        self._app, self._state, self._requests = app, state, requests
        self._has_keys = has_keys
        self._limits: defaultdict[int, NodeLimit] = defaultdict(NodeLimit)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one request.

        Args:
            scope: ASGI scope.
            receive: ASGI receive function.
            send: ASGI send function.
        """
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            if scope["type"] != "http" or not scope["path"].startswith(FLEET_PREFIX):
                raise RequestError(404)
            node = self._identify(dict(scope["headers"])) if self._has_keys else ANONYMOUS
            if node is None and scope["path"] not in CONNECT_PATHS:
                raise RequestError(401)
            node = node or ANONYMOUS
            if self._has_keys:
                async with self._limits[node]:  # strangers share one
                    await self._serve(node, scope, receive, send)
            else:
                await self._serve(node, scope, receive, send)
        except RequestError as error:
            headers = [(b"connection", b"close")]
            start = {"type": "http.response.start", "status": error.status, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": b""})

    async def _serve(self, node: int, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = await self._read_body(scope["path"], receive)
        if scope["path"] == QUESTION_PATH:
            await self._requests.hold(node or _read_node(body), receive)
        unread = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive_body() -> Any:
            return next(unread, None) or await receive()

        calling_node.set(node)  # of this request's task alone
        await self._app(scope, receive_body, send)

    def _identify(self, headers: dict[bytes, bytes]) -> int | None:
        """Return the node whose key signed a request; Flower checks the time of the signature."""
        try:
            names = (flower.FLEET_HTTP_PUBLIC_KEY_HEADER, flower.FLEET_HTTP_SIGNATURE_HEADER)
            key, signature = (b64decode(headers[name.lower().encode()]) for name in names)
            signed = headers[flower.TIMESTAMP_HEADER.lower().encode()]
            node = self._state.get_node_id_by_public_key(key)
            if node and flower.verify_signature(flower.bytes_to_public_key(key), signed, signature):
                return node
        except (KeyError, ValueError):
            pass
        return None

    async def _read_body(self, path: str, receive: Any) -> bytes:
        limit = MAX_UPLOAD_BYTES if path == UPLOAD_PATH else MAX_BODY_BYTES
        if path in CONNECT_PATHS:
            limit = MAX_CONNECT_BYTES
        body, has_more = bytearray(), True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while has_more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RequestError(400)
                    body += message.get("body", b"")
                    has_more = message.get("more_body", False)
                    if len(body) > limit:
                        raise RequestError(413)
        except TimeoutError:
            raise RequestError(408) from None
        return bytes(body)


def _read_node(question: bytes) -> int:
    """Return the node that asks for messages; 0 if the bytes are no such question."""
    try:
        return int(flower.PullMessagesRequest.FromString(question).node.node_id)
    except flower.DecodeError:
        return ANONYMOUS

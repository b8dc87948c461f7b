"""The Fleet API behind its guard, called as an ASGI application."""

import asyncio
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message  # oracle

from blossomtune.deployment import fleet_guard
from blossomtune.deployment.fleet_guard import FleetGuard
from blossomtune.deployment.message_guard import ANONYMOUS, calling_node

NODE, OTHER_NODE = 5, 6
PATH = "/v1/fleet/get-run"
KEYS = {node: ec.generate_private_key(ec.SECP384R1()) for node in (NODE, OTHER_NODE)}


class State:
    """State of a SuperLink that knows two keys."""

    def get_node_id_by_public_key(self, key):
        known = {public_key_to_bytes(k.public_key()): node for node, k in KEYS.items()}
        return known.get(key)


class App:
    """Application that records nodes and bodies, and can be blocked."""

    def __init__(self):
        self.requests, self.served = [], 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, scope, receive, send):
        self.served += 1
        self.requests.append((calling_node.get(), (await receive())["body"]))
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def build_headers(key, signer=None):
    timestamp = datetime.now(UTC).isoformat()
    signature = sign_message(signer or key, timestamp.encode())
    public = b64encode(public_key_to_bytes(key.public_key()))
    return [
        (b"flwr-public-key", public),
        (b"flwr-signature", b64encode(signature)),
        (b"flwr-timestamp", timestamp.encode()),
    ]


async def request(guard, path=PATH, headers=None, body=(b"abc",), kind="http"):
    """Send a request with a body in parts; return the status. A part of None never arrives."""
    parts, statuses = list(body), []

    async def receive():
        if parts[0] is None:
            await asyncio.sleep(60)
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message):
        statuses.append(message.get("status"))

    scope = {"type": kind, "path": path, "headers": headers or []}
    await guard(scope, receive, send)
    return statuses[0], len(parts)


def build_headers_of(node, signer=None):
    return build_headers(KEYS[node], signer and KEYS[signer])


@pytest.fixture
def app():
    return App()


@pytest.fixture
def guard(app):
    return FleetGuard(app, State(), None, has_keys=True)


def test_known_node_is_served_with_its_body(app, guard):
    status = asyncio.run(request(guard, headers=build_headers_of(NODE), body=(b"a", b"b")))
    assert status == (200, 0)
    assert app.requests == [(NODE, b"ab")]
    assert calling_node.get() is None


def test_node_without_keys_is_anonymous(app):
    guard = FleetGuard(app, State(), None, has_keys=False)
    assert asyncio.run(request(guard)) == (200, 0)
    assert app.requests == [(ANONYMOUS, b"abc")]


STRANGER = ec.generate_private_key(ec.SECP384R1())


@pytest.mark.parametrize(
    "headers",
    [
        [],
        build_headers(STRANGER),
        build_headers(KEYS[NODE], signer=STRANGER),
        [(b"flwr-public-key", b"?"), (b"flwr-signature", b"?"), (b"flwr-timestamp", b"?")],
    ],
)
def test_body_of_a_stranger_is_not_read(app, guard, headers):
    assert asyncio.run(request(guard, headers=headers, body=(b"a", b"b"))) == (401, 2)
    assert app.requests == []


@pytest.mark.parametrize("path", fleet_guard.CONNECT_PATHS)
def test_flower_answers_a_stranger_that_asks_to_connect(app, guard, path):
    headers = build_headers(STRANGER)
    assert asyncio.run(request(guard, path, headers)) == (200, 0)
    assert app.requests == [(ANONYMOUS, b"abc")]
    body = (bytes(fleet_guard.MAX_CONNECT_BYTES), b"1", b"2")
    assert asyncio.run(request(guard, path, headers, body)) == (413, 1)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/runtime/pull-messages", "http"), ("/v1/control/start-run", "http"), (PATH, "websocket")],
)
def test_other_paths_are_not_found(app, guard, path, kind):
    headers = build_headers_of(NODE)
    assert asyncio.run(request(guard, path, headers, kind=kind)) == (404, 1)
    assert app.requests == []


@pytest.mark.parametrize("path", [PATH, fleet_guard.UPLOAD_PATH])
def test_large_body_is_refused_before_its_end(app, guard, path):
    limit = fleet_guard.MAX_BODY_BYTES if path == PATH else fleet_guard.MAX_UPLOAD_BYTES
    body = (bytes(limit), b"1", b"2")
    assert asyncio.run(request(guard, path, build_headers_of(NODE), body)) == (413, 1)
    assert asyncio.run(request(guard, path, build_headers_of(NODE), body[:1])) == (200, 0)


def test_slow_body_is_refused(app, guard, monkeypatch):
    monkeypatch.setattr(fleet_guard, "BODY_SECONDS", 0.05)
    body = (b"a", None, b"b")
    assert asyncio.run(request(guard, headers=build_headers_of(NODE), body=body)) == (408, 2)


def test_requests_of_one_node_wait_and_do_not_delay_another(app, guard):
    limit = fleet_guard.MAX_SERVED + fleet_guard.MAX_WAITING

    async def flood():
        app.gate.clear()
        requests = [
            asyncio.ensure_future(request(guard, headers=build_headers_of(NODE)))
            for _ in range(limit + 3)
        ]
        await asyncio.sleep(0.05)
        assert app.served == fleet_guard.MAX_SERVED
        other = asyncio.ensure_future(request(guard, headers=build_headers_of(OTHER_NODE)))
        await asyncio.sleep(0.05)
        assert app.requests[-1][0] == OTHER_NODE
        app.gate.set()
        assert (await other)[0] == 200
        return sorted(status for status, _ in await asyncio.gather(*requests))

    assert asyncio.run(flood()) == [200] * limit + [429] * 3


def test_node_that_asks_without_end_is_slowed_down(guard, monkeypatch):
    monkeypatch.setattr(fleet_guard, "REQUESTS_PER_SECOND", 20)
    monkeypatch.setattr(fleet_guard, "BURST", 3)

    async def measure(node, count):
        loop = asyncio.get_running_loop()
        started = loop.time()
        for _ in range(count):
            await request(guard, headers=build_headers_of(node))
        return loop.time() - started

    assert asyncio.run(measure(NODE, 13)) >= (13 - 3 - 1) / 20

"""Flower's SuperLink, on a port that is free and with doors that only their owner can open.

The port is for SuperNodes, and answers to the Fleet API alone. The Control and Runtime APIs, which
start runs and hand them out to whoever asks, are on a socket in the file system, where files say
who may come in.
"""

import argparse
import asyncio
import socket
import ssl
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import uvicorn
from flwr.common.constant import ISOLATION_MODE_PROCESS, TRANSPORT_TYPE_GRPC_RERE
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig, load_control_authn_plugin
from flwr.superlink.main import create_app

from blossomtune.deployment.backend import SUPERLINK
from blossomtune.deployment.keys import KeyStore
from blossomtune.deployment.unix_sockets import RECONNECTS_FILE, listen_on
from blossomtune.files import write_json
from blossomtune.process_lifetime import set_process_name

FLEET_PREFIX = "/v1/fleet/"


class FleetApiOnly:
    """Answers to nothing but the Fleet API.

    Args:
        app: the SuperLink's application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """Serves a request, or says that there is nothing."""
        if scope["type"] != "http" or scope["path"].startswith(FLEET_PREFIX):
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class LoggingSSLObject(ssl.SSLObject):
    """A side of a connection that says when the other one is turned away; asyncio does not."""

    def do_handshake(self) -> None:
        """Goes on with the handshake."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            print(f"a connection was turned away: {error.reason or error}", flush=True)
            raise


class SecondaryServer(uvicorn.Server):
    """A server that ends when another one does, and leaves signals to that."""

    def capture_signals(self) -> Any:
        """Captures none."""
        return nullcontext()


def allow_reconnect(link_state: Any, reconnects_file: Path) -> None:
    """Lets a SuperNode come back at once after it was killed.

    Flower turns it away until the heartbeats of its killed self are missed, which takes a minute.
    Who comes has signed with the node's key.

    Args:
        state: the SuperLink's, which is changed.
        returned: a file that gets a line for every SuperNode that comes again, with its node id.
    """
    activate = link_state.activate_node
    known: set[int] = set()

    def again(node_id: int, heartbeat_interval: float) -> bool:
        link_state.deactivate_node(node_id)
        done = activate(node_id, heartbeat_interval)
        if node_id in known:
            with reconnects_file.open("a") as lines:
                lines.write(f"{node_id}\n")
        known.add(node_id)
        return done

    link_state.activate_node = again


async def run_superlink(host: str, port: int, work_dir: Path, key_store: KeyStore | None) -> None:
    """Runs a SuperLink until it is told to stop.

    Args:
        host: name or address to listen on for SuperNodes.
        port: to listen on; 0 takes a free one.
        folder: where ``superlink.sock`` comes to lie and, once all is ready, ``superlink.json``
            with the port; also ``returned``, see ``newest_wins``.
        keys: certificate and key; None for plain text and SuperNodes that nobody knows.
    """
    outer = socket.create_server((host, port))
    files = (
        (key_store.ca_certificate, key_store.superlink_certificate, key_store.superlink_key)
        if key_store
        else ()
    )
    config = SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host=host,
        port=outer.getsockname()[1],
        insecure=key_store is None,
        certificates=tuple(file.read_bytes() for file in files) if key_store else None,
        superexec_auth_secret=None,
        authn_plugin=load_control_authn_plugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=key_store is not None,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=str(key_store.ca_certificate) if key_store else None,
        ssl_certfile=str(key_store.superlink_certificate) if key_store else None,
        ssl_keyfile=str(key_store.superlink_key) if key_store else None,
        database=FLWR_IN_MEMORY_DB_NAME,
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )
    app = create_app(config, SuperLinkLifespan)
    allow_reconnect(app.state.linkstate_factory.state(), work_dir / RECONNECTS_FILE)
    settings = {"log_level": "warning", "timeout_graceful_shutdown": 1}
    doors = uvicorn.Config(
        FleetApiOnly(app),
        ssl_certfile=config.ssl_certfile,
        ssl_keyfile=config.ssl_keyfile,
        **settings,
    )
    doors.load()
    if doors.ssl:
        doors.ssl.sslobject_class = LoggingSSLObject
    nodes = uvicorn.Server(doors)
    server = SecondaryServer(uvicorn.Config(app, lifespan="off", **settings))
    following = asyncio.create_task(server.serve([listen_on(work_dir / "superlink.sock")]))
    write_json(work_dir / "superlink.json", {"port": config.port})
    await nodes.serve([outer])
    server.should_exit = True
    await following


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--keys", type=Path, help="without them, plain text")
    given = parser.parse_args()
    set_process_name(SUPERLINK)
    own = KeyStore(given.keys) if given.keys else None
    asyncio.run(run_superlink(given.host, given.port, given.folder, own))

"""Run Flower's SuperLink with a TCP port for SuperNodes and a Unix socket for everything else.

The port answers the Fleet API only. The Control and Runtime APIs start runs and hand out their
tasks to any caller, so they listen on a socket file that only this user can open.
"""

import argparse
import asyncio
import logging
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from blossomtune.cli import setup_process
from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment.backend import SUPERLINK
from blossomtune.deployment.fleet_connections import BoundedHttpProtocol, allow_many_connections
from blossomtune.deployment.fleet_guard import FleetGuard
from blossomtune.deployment.flower_grid import RECONNECTS_FILE
from blossomtune.deployment.keys import KeyStore
from blossomtune.deployment.log_limit import LogLimit
from blossomtune.deployment.message_guard import MessageGuard
from blossomtune.deployment.request_delivery import RequestDelivery
from blossomtune.deployment.unix_sockets import KEEP_ALIVE_SECONDS, listen_on
from blossomtune.files import write_json
from blossomtune.process_lifetime import set_process_name

logger = logging.getLogger(__name__)

LOG_LEVEL, SHUTDOWN_TIMEOUT_SECONDS = "warning", 1


class LoggingSSLObject(ssl.SSLObject):
    """TLS connection that logs failed handshakes, which asyncio does not."""

    def do_handshake(self) -> None:
        """Continue the handshake."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            logger.warning("a connection was turned away: %s", error.reason or error)
            raise


class SecondaryServer(uvicorn.Server):
    """Server beside another one of this process, which handles the signals."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture no signals."""
        yield


class FleetServer(uvicorn.Server):
    """Server for SuperNodes.

    Args:
        config: Configuration of the server.
        requests: Requests to SuperNodes; questions for them end with the server.
    """

    def __init__(self, config: uvicorn.Config, requests: RequestDelivery) -> None:
        super().__init__(config)
        self._requests = requests

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all requests and connections.

        Args:
            sockets: Sockets that the server listens on.
        """
        self._requests.close()
        await super().shutdown(sockets)


async def run_superlink(host: str, port: int, work_dir: Path, key_store: KeyStore | None) -> None:
    """Run a SuperLink until it gets SIGTERM.

    Args:
        host: Name or address to listen on for SuperNodes.
        port: Port to listen on; 0 for a free one.
        work_dir: Folder for ``superlink.sock`` and, once it listens, ``superlink.json`` with the
            port; also for the file of ``allow_reconnect`` and for large objects of messages.
        key_store: Certificate and key; None for plain text without authentication.
    """
    flower.use_steady_clock()
    listener = socket.create_server((host, port))
    config = _build_config(host, listener.getsockname()[1], key_store)
    app = flower.create_superlink_app(config, flower.SuperLinkLifespan)
    objects = app.state.linkstate_factory.objectstore_factory.store()
    flower.keep_objects_in_files(objects, work_dir / "objects")
    state = app.state.linkstate_factory.state()
    requests = RequestDelivery(state)
    MessageGuard(state, requests)
    flower.allow_reconnect(state, work_dir / RECONNECTS_FILE)
    allow_many_connections()
    fleet_config = uvicorn.Config(
        FleetGuard(app, state, requests, has_keys=key_store is not None),
        http=BoundedHttpProtocol,
        ws="none",
        ssl_certfile=config.ssl_certfile,
        ssl_keyfile=config.ssl_keyfile,
        log_level=LOG_LEVEL,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    fleet_config.load()
    if fleet_config.ssl:
        fleet_config.ssl.sslobject_class = LoggingSSLObject
    fleet_server = FleetServer(fleet_config, requests)
    local_server = SecondaryServer(
        uvicorn.Config(
            app,
            lifespan="off",
            log_level=LOG_LEVEL,
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
    )
    local_task = asyncio.create_task(local_server.serve([listen_on(work_dir / "superlink.sock")]))
    write_json(work_dir / "superlink.json", {"port": config.port})
    await fleet_server.serve([listener])
    local_server.should_exit = True
    await local_task


def _build_config(
    host: str, port: int, key_store: KeyStore | None
) -> flower.SuperLinkLifespanConfig:
    return flower.SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host=host,
        port=port,
        insecure=key_store is None,
        certificates=(
            key_store.ca_certificate.read_bytes(),
            key_store.superlink_certificate.read_bytes(),
            key_store.superlink_key.read_bytes(),
        )
        if key_store
        else None,
        superexec_auth_secret=None,
        authn_plugin=flower.load_control_authn_plugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=key_store is not None,
        fleet_api_type=flower.TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=str(key_store.ca_certificate) if key_store else None,
        ssl_certfile=str(key_store.superlink_certificate) if key_store else None,
        ssl_keyfile=str(key_store.superlink_key) if key_store else None,
        database=flower.FLWR_IN_MEMORY_DB_NAME,
        isolation=flower.ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )


def main() -> None:
    """Run a SuperLink with the arguments of the command line."""
    setup_process()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--key-dir", type=Path, help="folder of keys; plain text without it")
    args = parser.parse_args()
    set_process_name(SUPERLINK)
    for name in ("flwr", "uvicorn.error"):
        logging.getLogger(name).addFilter(LogLimit())
    key_store = KeyStore(args.key_dir) if args.key_dir else None
    asyncio.run(run_superlink(args.host, args.port, args.work_dir, key_store))


if __name__ == "__main__":
    main()

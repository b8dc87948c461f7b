"""Flower's SuperLink, with ports that are free and doors that only their owner can open.

One port is for SuperNodes: it answers to the Fleet API alone. The other one has the Control and
Runtime APIs as well, which start runs and hand them out; it is on loopback.
"""

import argparse
import socket
from pathlib import Path
from typing import Any

import uvicorn
from flwr.common.constant import ISOLATION_MODE_PROCESS, TRANSPORT_TYPE_GRPC_RERE
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig, load_control_authn_plugin
from flwr.superlink.main import create_app

from blossomtune.files import write_json
from blossomtune.launch.keys import Keys

FLEET = "/v1/fleet/"
LOOPBACK = "127.0.0.1"


class Doors:
    """Answers on the outer port to nothing but the Fleet API.

    Args:
        app: the SuperLink's application.
        outer: the port that other hosts can reach.
    """

    def __init__(self, app: Any, outer: int) -> None:
        self._app, self._outer = app, outer

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """Serves a request, or says that there is nothing."""
        outside = scope["type"] == "http" and scope["server"][1] == self._outer
        if not outside or scope["path"].startswith(FLEET):
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def newest_wins(state: Any) -> None:
    """Lets a SuperNode come back at once after it was killed.

    Flower turns it away until the heartbeats of its killed self are missed, which takes a minute.
    Who comes has signed with the node's key.
    """
    activate = state.activate_node

    def again(node_id: int, heartbeat_interval: float) -> bool:
        state.deactivate_node(node_id)
        return activate(node_id, heartbeat_interval)

    state.activate_node = again


def serve(keys: Keys, host: str, port: int, ready: Path, *, insecure: bool = False) -> None:
    """Runs a SuperLink until it is told to stop.

    Args:
        keys: certificate and key, and the secret of those who may take over a run.
        host: name or address to listen on for SuperNodes.
        port: to listen on; 0 takes a free one.
        ready: where the ports go as JSON, ``outer`` and ``inner``, once they are taken.
        insecure: plain text and no authentication of SuperNodes.
    """
    outer = socket.create_server((host, port))
    inner = socket.create_server((LOOPBACK, 0))
    files = (keys.authority, keys.certificate, keys.key)
    config = SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host=host,
        port=outer.getsockname()[1],
        insecure=insecure,
        certificates=None if insecure else tuple(file.read_bytes() for file in files),
        superexec_auth_secret=keys.secret.read_bytes(),
        authn_plugin=load_control_authn_plugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=not insecure,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=None if insecure else str(keys.authority),
        ssl_certfile=None if insecure else str(keys.certificate),
        ssl_keyfile=None if insecure else str(keys.key),
        database=FLWR_IN_MEMORY_DB_NAME,
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )
    api = create_app(config, SuperLinkLifespan)
    newest_wins(api.state.linkstate_factory.state())
    app = Doors(api, config.port)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            ssl_certfile=config.ssl_certfile,
            ssl_keyfile=config.ssl_keyfile,
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
    )
    write_json(ready, {"outer": config.port, "inner": inner.getsockname()[1]})
    server.run(sockets=[outer, inner])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready", type=Path, required=True)
    parser.add_argument("--insecure", action="store_true")
    given = parser.parse_args()
    serve(Keys(given.keys), given.host, given.port, given.ready, insecure=given.insecure)

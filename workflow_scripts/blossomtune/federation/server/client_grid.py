"""Limit a grid to the nodes of the clients, which their registered names or keys decide."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import tenacity
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message
from flwr.serverapp import Grid

from blossomtune.config.engines import FlowerEngine
from blossomtune.errors import UserError
from blossomtune.federation.server.delegating_grid import DelegatingGrid
from blossomtune.federation.spec import FederationSpec
from blossomtune.public_keys import compute_fingerprint, load_public_key

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

RECONNECT_SECONDS, RETRY_SECONDS = 300, 1.0
"""Time in which a SuperLink may start again, and pause between two calls."""


class ClientGrid(DelegatingGrid):
    """Grid of nodes that were registered as clients; other nodes are left alone.

    Args:
        grid: The grid of all nodes.
        spec: What is trained; its engine may name a folder of keys.

    Attributes:
        clients: Client by node id, of all nodes so far.
        key_fingerprints: Fingerprint of the public key, by node id.
    """

    def __init__(self, grid: Grid, spec: FederationSpec) -> None:
        super().__init__(grid)
        self.clients: dict[int, int] = {}
        self.key_fingerprints: dict[int, str] = {}
        self._names = [client.name for client in spec.clients]
        self._client_keys = _load_client_keys(spec)
        self._others: set[int] = set()

    def get_nodes(self) -> Iterable[Any]:
        """Return the connected nodes of clients.

        Returns:
            Nodes, as the grid describes them.

        Raises:
            UserError: If two nodes were registered as one client.
        """
        nodes: dict[int, Any] = {}
        for node in _call_until_connected(self._grid.get_nodes):
            client = self._identify(node)
            if client is None:
                self._log_other(node)
                continue
            if client in nodes:
                raise UserError(
                    f"nodes {nodes[client].node_id} and {node.node_id} were both registered as "
                    f"{self._names[client]!r}",
                    "unregister one of them, with `flwr supernode unregister`",
                )
            nodes[client] = node
            self.clients[node.node_id] = client
        return list(nodes.values())

    def get_node_ids(self) -> Iterable[int]:
        """Return the ids of these nodes."""
        return [node.node_id for node in self.get_nodes()]

    def _identify(self, node: Any) -> int | None:
        """Return the client that a node was registered as; None for another one."""
        if node.node_id not in self.key_fingerprints and node.public_key:
            key = serialization.load_pem_public_key(node.public_key)
            if isinstance(key, ec.EllipticCurvePublicKey):
                self.key_fingerprints[node.node_id] = compute_fingerprint(key)
        if self._client_keys is not None:
            return self._client_keys.get(self.key_fingerprints.get(node.node_id, ""))
        return self._names.index(node.name) if node.name in self._names else None

    def _log_other(self, node: Any) -> None:
        if node.node_id not in self._others:
            self._others.add(node.node_id)
            by = "name" if self._client_keys is None else "key"
            logger.info("node %d (%s) has no client's %s", node.node_id, node.name or "no name", by)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; return their ids."""
        return _call_until_connected(self._grid.push_messages, list(messages))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that have arrived."""
        return _call_until_connected(self._grid.pull_messages, list(message_ids))


def _call_until_connected(call: Callable[..., Result], *arguments: object) -> Result:
    """Call again while the SuperLink cannot be reached, as Flower does for most errors itself.

    It gives up at errors of TLS. A SuperLink that ends during a handshake causes one, too.
    """
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_delay(RECONNECT_SECONDS),
        wait=tenacity.wait_fixed(RETRY_SECONDS),
        retry=tenacity.retry_if_exception_type(httpx.TransportError),
        reraise=True,
    )
    return retrying(call, *arguments)


def _load_client_keys(spec: FederationSpec) -> dict[str, int] | None:
    """Return the client of each key's fingerprint; None if names decide."""
    engine = spec.federation.engine
    if not isinstance(engine, FlowerEngine) or engine.keys is None:
        return None
    clients = {}
    for number, client in enumerate(spec.clients):
        path = Path(engine.keys) / f"{client.name}.pub"
        if path.exists():
            clients[compute_fingerprint(load_public_key(path))] = number
    return clients

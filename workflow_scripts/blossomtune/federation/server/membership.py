"""Know which clients are connected; they may join, leave and come back between rounds."""

import logging
import time
from collections.abc import Mapping

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from blossomtune.federation.messages.reply_validation import decode_client_number
from blossomtune.federation.messages.versions import check_client_versions
from blossomtune.federation.server.audit import ServerAudit
from blossomtune.federation.server.nodes import (
    POLL_SECONDS,
    extract_error_message,
    pull_available,
    push,
    require_enough_clients,
    should_wait,
)
from blossomtune.federation.spec import FederationSpec

logger = logging.getLogger(__name__)


class Membership:
    """The clients of a federation and their nodes.

    A node is asked once which client it is. One that connects again keeps its id.

    Args:
        grid: Connection to the nodes.
        spec: What is trained.
        authenticated_clients: The client whose key a node has, by node id, if nodes have keys.
        audit: Record of the nodes.

    Attributes:
        node_ids: Node id by client, of all clients that have ever been connected.
    """

    def __init__(
        self,
        grid: Grid,
        spec: FederationSpec,
        authenticated_clients: Mapping[int, int] | None = None,
        audit: ServerAudit | None = None,
    ) -> None:
        self._grid, self._spec = grid, spec
        self._authenticated_clients = authenticated_clients
        self._audit = audit or ServerAudit()
        self.node_ids: dict[int, int] = {}
        self._errors: list[str] = []
        self._queried: set[int] = set()
        self._pending: dict[str, Message] = {}
        self._last_connected = set(range(len(spec.clients)))

    def wait_at_start(self) -> None:
        """Wait for ``min_available_clients``, all by default, until the round timeout is over.

        Raises:
            UserError: If fewer than ``min_clients`` reply. It names the missing ones.
        """
        federation, num_clients = self._spec.federation, len(self._spec.clients)
        num_awaited = federation.min_available_clients or num_clients
        deadline = time.monotonic() + federation.round_timeout
        while should_wait(deadline):
            self._update()
            num_answers = len(self._errors) + len(self.node_ids)
            if len(self.node_ids) >= num_awaited or num_answers >= num_clients:
                break
            time.sleep(POLL_SECONDS)
        self._require(len(self.node_ids), federation.min_clients, list(self.node_ids))

    def wait_for_round(self, round_number: int, num_required: int) -> list[int]:
        """Return the connected clients before a round.

        Args:
            round_number: Number of the round, from 1.
            num_required: Number of clients to wait for, until the round timeout is over.

        Returns:
            Client numbers in ascending order.

        Raises:
            UserError: If fewer clients are connected then.
        """
        deadline = time.monotonic() + self._spec.federation.round_timeout
        connected = self._update()
        is_waiting = False
        while len(connected) < num_required and should_wait(deadline):
            if not is_waiting:
                is_waiting = True
                logger.warning(
                    "round %d waits for clients: %d of %d are connected",
                    round_number,
                    len(connected),
                    num_required,
                )
            time.sleep(POLL_SECONDS)
            connected = self._update()
        self._require(len(connected), num_required, connected, round_number)
        self._log_changes(connected)
        return connected

    def _update(self) -> list[int]:
        """Ask new nodes which client they are; return the clients that are connected."""
        online = set(self._grid.get_node_ids())
        new = sorted(online - self._queried)
        self._queried.update(new)
        queries = [Message(RecordDict(), node, MessageType.QUERY) for node in new]
        self._pending.update(push(self._grid, queries))
        for query, reply in pull_available(self._grid, self._pending):
            node = query.metadata.dst_node_id
            try:
                client = self._identify(node, reply)
            except ValueError as error:
                self._errors.append(str(error))
                self._audit.record_refusal(node, str(error))
            else:
                self.node_ids[client] = node
                self._audit.record_join(client, node)
        return sorted(client for client, node in self.node_ids.items() if node in online)

    def _identify(self, node: int, reply: Message) -> int:
        """Return the client that a node is; raise ValueError if it is none."""
        client = identify_client(reply, len(self._spec.clients))
        owners = self._authenticated_clients
        if owners is not None and owners.get(node) != client:
            raise ValueError(f"a node says that it is client {client}, with another's key")
        if client in self.node_ids:
            raise ValueError(f"two nodes say that they are client {client}")
        return client

    def _require(
        self,
        num_connected: int,
        num_required: int,
        connected: list[int],
        round_number: int | None = None,
    ) -> None:
        missing = set(range(len(self._spec.clients))) - set(connected)
        reasons = [(client, None) for client in sorted(missing)]
        require_enough_clients(
            self._spec, num_connected, num_required, reasons, self._errors, round_number
        )

    def _log_changes(self, connected: list[int]) -> None:
        """Log who has joined, left or come back since the round before."""
        last, self._last_connected = self._last_connected, set(connected)
        for label, clients in (
            ("is not connected", last - self._last_connected),
            ("is connected", self._last_connected - last),
        ):
            for client in sorted(clients):
                logger.info("client %d (%s) %s", client, self._spec.clients[client].name, label)


def identify_client(reply: Message, num_clients: int) -> int:
    """Read the client's number in a reply to a query.

    Args:
        reply: The reply.
        num_clients: Number of clients of the federation.

    Returns:
        The client's number.

    Raises:
        ValueError: If the reply is an error, contains no valid number, or is from a client with
            another version of this package.
    """
    if reply.has_error():
        raise ValueError(extract_error_message(reply))
    client = decode_client_number(reply.content, num_clients)
    check_client_versions(reply.content, client)
    return client

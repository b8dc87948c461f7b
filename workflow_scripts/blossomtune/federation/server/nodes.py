"""Send messages to the nodes of a grid, and find out which node is which client."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from blossomtune.errors import UserError
from blossomtune.federation.messages.records import METRICS_RECORD
from blossomtune.federation.spec import FederationSpec

POLL_SECONDS = 0.1

REPLIES_PER_PULL = 4
"""Most replies in memory at once; a grid returns all that it is asked for."""


def discover_clients(
    grid: Grid, spec: FederationSpec, authenticated_clients: Mapping[int, int] | None = None
) -> dict[int, int]:
    """Find out which node is which client.

    Nodes are asked until every client has replied or the round timeout is over.

    Args:
        grid: Connection to the nodes.
        spec: What is trained.
        authenticated_clients: The client whose key a node has, by node id, if nodes have keys.

    Returns:
        Node id by client.

    Raises:
        UserError: If fewer than ``min_clients`` reply. It names the missing ones.
    """
    deadline = time.monotonic() + spec.federation.round_timeout
    num_clients = len(spec.clients)
    node_ids: dict[int, int] = {}
    errors: list[str] = []
    queried: set[int] = set()
    while len(node_ids) < num_clients and _should_wait(deadline):
        new = [node for node in grid.get_node_ids() if node not in queried]
        queried.update(new)
        queries = [Message(RecordDict(), node, MessageType.QUERY) for node in new]
        for query, reply in send_and_receive(grid, queries, deadline):
            node = query.metadata.dst_node_id
            try:
                client = identify_client(reply, num_clients)
                if authenticated_clients is not None and authenticated_clients.get(node) != client:
                    raise ValueError(f"a node says that it is client {client}, with another's key")
                if client in node_ids:
                    raise ValueError(f"two nodes say that they are client {client}")
                node_ids[client] = node
            except ValueError as error:
                errors.append(str(error))
        if len(errors) + len(node_ids) >= num_clients:
            break
        time.sleep(POLL_SECONDS)
    missing = [(client, None) for client in range(num_clients) if client not in node_ids]
    require_enough_clients(spec, len(node_ids), spec.federation.min_clients, missing, errors)
    return node_ids


def identify_client(reply: Message, num_clients: int) -> int:
    """Read the client's number in a reply to a query.

    Args:
        reply: The reply.
        num_clients: Number of clients of the federation.

    Returns:
        The client's number.

    Raises:
        ValueError: If the reply is an error or contains no valid number.
    """
    if reply.has_error():
        raise ValueError(extract_error_message(reply))
    metrics = reply.content.metric_records.get(METRICS_RECORD)
    client = metrics.get("client") if metrics else None
    if not isinstance(client, int | float) or client not in range(num_clients):
        raise ValueError(f"a node says that it is client {client!r}, of {num_clients}")
    return int(client)


def send_and_receive(
    grid: Grid, messages: Sequence[Message], deadline: float
) -> Iterator[tuple[Message, Message]]:
    """Send messages, and wait for their replies.

    Args:
        grid: Connection to the nodes.
        messages: The messages.
        deadline: Value of the monotonic clock at which waiting ends.

    Yields:
        Each message with its reply, in order of arrival.
    """
    pending = dict(zip(grid.push_messages(messages), messages, strict=False))
    while pending and _should_wait(deadline):
        unanswered = list(pending)
        for start in range(0, len(unanswered), REPLIES_PER_PULL):
            message_ids = set(unanswered[start : start + REPLIES_PER_PULL])
            for reply in grid.pull_messages(message_ids):
                # An error of the SuperLink itself does not name a node.
                if message := pending.pop(reply.metadata.reply_to_message_id, None):
                    yield message, reply
        if pending:
            time.sleep(POLL_SECONDS)


def _should_wait(deadline: float) -> bool:
    """Return False after the deadline, and if the main thread of a simulation has ended."""
    return time.monotonic() < deadline and threading.main_thread().is_alive()


def require_enough_clients(
    spec: FederationSpec,
    num_responding: int,
    num_required: int,
    missing_clients: Sequence[tuple[int, str | None]],
    node_errors: Sequence[str] = (),
    round_number: int | None = None,
) -> None:
    """Raise if too few clients take part.

    Args:
        spec: What is trained.
        num_responding: Number of clients with a usable reply.
        num_required: Number of clients that the run needs.
        missing_clients: Clients without a usable reply, and why, if that is known.
        node_errors: Errors of nodes that are no known client.
        round_number: Number of the round; None before the first one.

    Raises:
        UserError: If too few clients take part. It names the missing ones and their errors.
    """
    if num_responding >= num_required:
        return
    label = "the federation cannot start" if round_number is None else f"round {round_number} stops"
    key = "min_clients" if num_required <= spec.federation.min_clients else "strategy"
    names = [
        f"{client} ({spec.clients[client].name}){f': {reason}' if reason else ''}"
        for client, reason in missing_clients
    ]
    details = "\n  ".join([*names, *dict.fromkeys(node_errors)])
    raise UserError(
        f"{label}: {num_responding} of the {num_required} clients that federation.{key} asks for "
        f"answered\n  missing or failed:\n  {details}"
    )


def extract_error_message(reply: Message) -> str:
    """Return a client's error without Flower's prefixes and suffixes."""
    text = str(reply.error.reason or f"error {reply.error.code}").removesuffix("'>")
    return text.split(":<'", 1)[-1].rpartition("Message: ")[2].strip()

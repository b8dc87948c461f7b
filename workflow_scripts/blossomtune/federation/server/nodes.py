"""The nodes of a grid: which of them is which client, and asking several at once."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from blossomtune.errors import UserError
from blossomtune.federation.messages.records import METRICS_RECORD
from blossomtune.federation.spec import FederationSpec

POLL_SECONDS = 0.1


def discover_clients(
    grid: Grid, spec: FederationSpec, authenticated_clients: Mapping[int, int] | None = None
) -> dict[int, int]:
    """Which node is which client: node id by client number.

    Nodes are asked until every client has answered or the round's time is up; enough of them is
    enough.

    Args:
        grid: the nodes.
        spec: the federation.
        owners: the client whose key a node has, by node id, where nodes have keys.

    Raises:
        UserError: where fewer than ``min_clients`` answered, naming those that did not.
    """
    end = time.monotonic() + spec.federation.round_timeout
    found: dict[int, int] = {}
    reasons: list[str] = []
    asked: set[int] = set()
    while len(found) < len(spec.clients) and _should_wait(end):
        new = [node for node in grid.get_node_ids() if node not in asked]
        asked.update(new)
        questions = [Message(RecordDict(), node, MessageType.QUERY) for node in new]
        for question, reply in send_and_receive(grid, questions, end):
            node = question.metadata.dst_node_id
            try:
                client = identify_client(reply, len(spec.clients))
                if authenticated_clients is not None and authenticated_clients.get(node) != client:
                    raise ValueError(f"a node says that it is client {client}, with another's key")
                if client in found:
                    raise ValueError(f"two nodes say that they are client {client}")
                found[client] = node
            except ValueError as error:
                reasons.append(str(error))
        if len(reasons) + len(found) >= len(spec.clients):
            break
        time.sleep(POLL_SECONDS)
    missing = [(i, None) for i in range(len(spec.clients)) if i not in found]
    require_enough_clients(spec, len(found), spec.federation.min_clients, missing, reasons)
    return found


def identify_client(reply: Message, num_clients: int) -> int:
    """The client that a node says it is.

    Raises:
        ValueError: where it failed, or says nothing sensible.
    """
    if reply.has_error():
        raise ValueError(extract_error_message(reply))
    said = reply.content.get(METRICS_RECORD, {}).get("client")
    if said not in range(num_clients):
        raise ValueError(f"a node says that it is client {said!r}, of {num_clients}")
    return int(said)


def send_and_receive(
    grid: Grid, messages: Sequence[Message], deadline: float
) -> Iterator[tuple[Message, Message]]:
    """Sends messages and yields each with its reply, until all are there or time is up."""
    waiting = dict(zip(grid.push_messages(messages), messages, strict=False))
    while waiting and _should_wait(deadline):
        for reply in grid.pull_messages(set(waiting)):
            # an error of the SuperLink's own does not say which node it is about
            if asked := waiting.pop(reply.metadata.reply_to_message_id, None):
                yield asked, reply
        if waiting:
            time.sleep(POLL_SECONDS)


def _should_wait(deadline: float) -> bool:
    """Whether to wait on: a simulation's server is a thread, and ends with the main one."""
    return time.monotonic() < deadline and threading.main_thread().is_alive()


def require_enough_clients(
    spec: FederationSpec,
    num_responding: int,
    num_required: int,
    missing_clients: Sequence[tuple[int, str | None]],
    node_errors: Sequence[str] = (),
    round_number: int | None = None,
) -> None:
    """Stops a run that too few clients take part in.

    Raises:
        UserError: naming those that are missing, and why.
    """
    if num_responding >= num_required:
        return
    where = "the federation cannot start" if round_number is None else f"round {round_number} stops"
    key = "min_clients" if num_required <= spec.federation.min_clients else "strategy"
    named = [
        f"{c} ({spec.clients[c].name}){f': {why}' if why else ''}" for c, why in missing_clients
    ]
    detail = "\n  ".join([*named, *dict.fromkeys(node_errors)])
    raise UserError(
        f"{where}: {num_responding} of the {num_required} clients that federation.{key} asks for answered\n"
        f"  missing or failed:\n  {detail}"
    )


def extract_error_message(reply: Message) -> str:
    """What went wrong on a client, without Flower's wrapping."""
    text = str(reply.error.reason or f"error {reply.error.code}").removesuffix("'>")
    return text.split(":<'", 1)[-1].rpartition("Message: ")[2].strip()

"""Send messages to the nodes of a grid, and wait for their replies."""

import threading
import time
from collections.abc import Iterator, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

from blossomtune.errors import UserError
from blossomtune.federation.spec import FederationSpec
from blossomtune.text_cleaning import clean_line

POLL_SECONDS, MAX_POLL_SECONDS = 0.1, 2

POLL_SHARE = 0.05
"""Pause between two pulls, as a share of the time since the last reply."""

REPLIES_PER_PULL = 4
"""Most replies in memory at once, for a grid that returns all that it is asked for."""


def send_and_receive(
    grid: Grid, messages: Sequence[Message], deadline: float
) -> Iterator[tuple[Message, Message]]:
    """Send messages, and wait for their replies.

    Replies that have arrived by the deadline count, even if there was no time to pull them.

    Args:
        grid: Connection to the nodes.
        messages: The messages.
        deadline: Value of the monotonic clock at which waiting ends.

    Yields:
        Each message with its reply, in order of arrival.
    """
    pending = push(grid, messages)
    last_reply = time.monotonic()
    while pending:
        is_last_pull = not should_wait(deadline)
        num_pending, started = len(pending), time.monotonic()
        yield from pull_available(grid, pending)
        if is_last_pull:
            return
        pause, now = POLL_SECONDS, time.monotonic()
        if len(pending) == num_pending:  # asking in vain keeps the SuperLink and a core busy
            pause = max(pause, now - started, POLL_SHARE * (now - last_reply))
        else:
            last_reply = now
        if pending:
            time.sleep(min(pause, MAX_POLL_SECONDS))


def push(grid: Grid, messages: Sequence[Message]) -> dict[str, Message]:
    """Send messages.

    Args:
        grid: Connection to the nodes.
        messages: The messages.

    Returns:
        The messages by id.
    """
    if not messages:
        return {}
    return dict(zip(grid.push_messages(messages), messages, strict=False))


def pull_available(grid: Grid, pending: dict[str, Message]) -> Iterator[tuple[Message, Message]]:
    """Pull the replies that have arrived.

    Args:
        grid: Connection to the nodes.
        pending: Messages by id; those with a reply are removed.

    Yields:
        Each message with its reply.
    """
    unanswered = list(pending)
    step = getattr(grid, "replies_per_pull", REPLIES_PER_PULL)
    for start in range(0, len(unanswered), step):
        for reply in grid.pull_messages(set(unanswered[start : start + step])):
            # An error of the SuperLink itself does not name a node.
            if message := pending.pop(reply.metadata.reply_to_message_id, None):
                yield message, reply


def should_wait(deadline: float) -> bool:
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
    """Return a client's error on one line, without Flower's prefixes and suffixes."""
    text = str(reply.error.reason or f"error {reply.error.code}").removesuffix("'>")
    return clean_line(text.split(":<'", 1)[-1].rpartition("Message: ")[2])

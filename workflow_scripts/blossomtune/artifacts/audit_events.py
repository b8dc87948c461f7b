"""Entries of the audit log of a federation's server."""

from typing import Annotated, Literal

from pydantic import Field

from blossomtune.artifacts.base import Part

Task = Literal["train", "evaluate"]


class RunStarted(Part):
    """The server starts, or goes on after a checkpoint.

    Attributes:
        event: kind of the event.
        run: identifier of the run; it changes with everything that a round depends on.
        round: last completed round.
    """

    event: Literal["start"] = "start"
    run: str
    round: int


class ClientJoined(Part):
    """A node is a client of the federation from now on, or has another key.

    Attributes:
        event: kind of the event.
        client: index of the client.
        node: Flower's id of the node.
        key: fingerprint of the node's public key, as ``ssh-keygen -l`` prints it; None without
            authentication.
    """

    event: Literal["join"] = "join"
    client: int
    node: int
    key: str | None


class NodeRefused(Part):
    """A node does not become a client.

    Attributes:
        event: kind of the event.
        node: Flower's id of the node.
        key: fingerprint of the node's public key; None without authentication.
        reason: why it was refused.
    """

    event: Literal["refuse"] = "refuse"
    node: int
    key: str | None
    reason: str


class RequestSent(Part):
    """A client is asked to train, or to evaluate the adapter of the round.

    Attributes:
        event: kind of the event.
        round: number of the round.
        task: what the client is asked for.
        client: index of the client.
        sha256: Flower's object id of the message's content, a SHA-256 of all its parts.
    """

    event: Literal["request"] = "request"
    round: int
    task: Task
    client: int
    sha256: str


class ReplyReceived(Part):
    """A client's reply is accepted, or the client has failed.

    Attributes:
        event: kind of the event.
        round: number of the round.
        task: what the client was asked for.
        client: index of the client.
        sha256: Flower's object id of the reply's content; None if no content arrived.
        reason: why the reply does not count; None if it does.
    """

    event: Literal["reply"] = "reply"
    round: int
    task: Task
    client: int
    sha256: str | None
    reason: str | None


class RoundCompleted(Part):
    """A round ends.

    Attributes:
        event: kind of the event.
        round: number of the round.
        adapter: SHA-256 of the global adapter's tensors.
        record: SHA-256 of the round's record in history.json, as canonical JSON.
    """

    event: Literal["round"] = "round"
    round: int
    adapter: str
    record: str


class ResultWritten(Part):
    """The adapter and history.json are written.

    Attributes:
        event: kind of the event.
        files: SHA-256 by name of the file.
    """

    event: Literal["result"] = "result"
    files: dict[str, str]


AuditEvent = Annotated[
    RunStarted
    | ClientJoined
    | NodeRefused
    | RequestSent
    | ReplyReceived
    | RoundCompleted
    | ResultWritten,
    Field(discriminator="event"),
]

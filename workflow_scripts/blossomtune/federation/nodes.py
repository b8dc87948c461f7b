"""The nodes of a grid: which of them is which client, and asking several at once."""

import threading
import time
from collections.abc import Iterator, Sequence

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from blossomtune.errors import UserError
from blossomtune.federation.job import Job
from blossomtune.federation.messages import METRICS

POLL_SECONDS = 0.1


def roster(grid: Grid, job: Job) -> dict[int, int]:
    """Which node is which client: node id by client number.

    Nodes are asked until every client has answered or the round's time is up; enough of them is
    enough.

    Raises:
        UserError: where fewer than ``min_clients`` answered, naming those that did not.
    """
    end = time.monotonic() + job.federation.round_timeout
    found: dict[int, int] = {}
    reasons: list[str] = []
    asked: set[int] = set()
    while len(found) < len(job.clients) and _going(end):
        new = [node for node in grid.get_node_ids() if node not in asked]
        asked.update(new)
        questions = [Message(RecordDict(), node, MessageType.QUERY) for node in new]
        for reply in exchange(grid, questions, end):
            if reply.has_error():
                reasons.append(reason(reply))
            else:
                found[int(reply.content[METRICS]["client"])] = reply.metadata.src_node_id
        if len(reasons) + len(found) >= len(job.clients):
            break
        time.sleep(POLL_SECONDS)
    missing = [(i, None) for i in range(len(job.clients)) if i not in found]
    require(job, len(found), job.federation.min_clients, missing, reasons)
    return found


def exchange(grid: Grid, messages: Sequence[Message], end: float) -> Iterator[Message]:
    """Sends messages and yields the replies as they come, until all are there or time is up."""
    waiting = set(grid.push_messages(messages))
    while waiting and _going(end):
        for reply in grid.pull_messages(waiting):
            waiting.discard(reply.metadata.reply_to_message_id)
            yield reply
        if waiting:
            time.sleep(POLL_SECONDS)


def _going(end: float) -> bool:
    """Whether to wait on: a simulation's server is a thread, and ends with the main one."""
    return time.monotonic() < end and threading.main_thread().is_alive()


def require(
    job: Job,
    good: int,
    needed: int,
    lost: Sequence[tuple[int, str | None]],
    reasons: Sequence[str] = (),
    number: int | None = None,
) -> None:
    """Stops a run that too few clients take part in.

    Raises:
        UserError: naming those that are missing, and why.
    """
    if good >= needed:
        return
    where = "the federation cannot start" if number is None else f"round {number} stops"
    key = "min_clients" if needed <= job.federation.min_clients else "strategy"
    named = [f"{c} ({job.clients[c].name}){f': {why}' if why else ''}" for c, why in lost]
    detail = "\n  ".join([*named, *dict.fromkeys(reasons)])
    raise UserError(
        f"{where}: {good} of the {needed} clients that federation.{key} asks for answered\n"
        f"  missing or failed:\n  {detail}"
    )


def reason(reply: Message) -> str:
    """What went wrong on a client, without Flower's wrapping."""
    text = str(reply.error.reason or f"error {reply.error.code}").removesuffix("'>")
    return text.split(":<'", 1)[-1].rpartition("Message: ")[2].strip()

"""The rounds of a federation: who takes part, what came back, what it made.

Flower's strategies sample by random node numbers and aggregate in order of arrival. Here both
follow from the seed and the client's number, so that the same configuration gives the same
adapter, whatever arrives when.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from blossomtune.errors import UserError
from blossomtune.federation import adapter, plan
from blossomtune.federation.adapter import MismatchError, State
from blossomtune.federation.client_app import ADAPTER, METRICS, ROUND
from blossomtune.federation.job import Job
from blossomtune.federation.strategies import aggregate, build

POLL_SECONDS = 0.1


@dataclass
class Round:
    """What one round did, for history.json; ``bytes`` are those of the records in messages."""

    number: int
    learning_rate: float | None = None
    clients: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    bytes_down: int = 0
    bytes_up: int = 0
    seconds: float = 0.0
    evaluation: dict[str, float] | None = None

    def record(self) -> dict[str, Any]:
        """The round as history.json has it."""
        examples = sum(c["examples"] for c in self.clients)
        loss = sum(c["train_loss"] * c["examples"] for c in self.clients)
        return {
            "round": self.number,
            "learning_rate": self.learning_rate,
            "train_loss": round(loss / examples, 6) if examples else None,
            "evaluation": self.evaluation,
            "clients": self.clients,
            "failed": self.failed,
            "tokens": sum(c["tokens"] for c in self.clients),
            "bytes_down": self.bytes_down,
            "bytes_up": self.bytes_up,
            "seconds": round(self.seconds, 3),
        }


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
    while len(found) < len(job.clients) and time.monotonic() < end:
        new = [node for node in grid.get_node_ids() if node not in asked]
        asked.update(new)
        questions = [Message(RecordDict(), node, MessageType.QUERY) for node in new]
        for reply in exchange(grid, questions, end):
            if reply.has_error():
                reasons.append(_reason(reply))
            else:
                found[int(reply.content[METRICS]["client"])] = reply.metadata.src_node_id
        if len(reasons) + len(found) >= len(job.clients):
            break
        time.sleep(POLL_SECONDS)
    _require(
        job, len(found), [(i, None) for i in range(len(job.clients)) if i not in found], reasons
    )
    return found


def exchange(grid: Grid, messages: Sequence[Message], end: float) -> Iterator[Message]:
    """Sends messages and yields the replies as they come, until all are there or time is up.

    A simulation's server is a thread beside the main one; when that ends, waiting ends too.
    """
    waiting = set(grid.push_messages(messages))
    while waiting and time.monotonic() < end and threading.main_thread().is_alive():
        for reply in grid.pull_messages(waiting):
            waiting.discard(reply.metadata.reply_to_message_id)
            yield reply
        if waiting:
            time.sleep(POLL_SECONDS)


class Federation:
    """Runs rounds on the nodes of a grid.

    Args:
        grid: Flower's connection to the nodes.
        job: what to run.
        state: the adapter to start from.
    """

    def __init__(self, grid: Grid, job: Job, state: State) -> None:
        self.grid, self.job, self.state = grid, job, state
        self.strategy = build(job.federation)
        self.nodes = roster(grid, job)

    def run(self, number: int) -> Round:
        """Trains one round and makes its average the new ``state``.

        Raises:
            UserError: where fewer than ``min_clients`` sent something useful.
        """
        started = time.monotonic()
        job, federation = self.job, self.job.federation
        chosen = plan.sample(job.seed, number, len(job.clients), federation.fraction_train)
        result = Round(number, plan.learning_rate(job.training, number, federation.rounds))
        arrays, config = ArrayRecord(self.state), ConfigRecord({"round": number})
        present = {self.nodes[c]: c for c in chosen if c in self.nodes}
        messages = [
            Message(RecordDict({ADAPTER: arrays, ROUND: config}), node, MessageType.TRAIN)
            for node in present
        ]
        result.bytes_down = len(messages) * (arrays.count_bytes() + config.count_bytes())
        good: dict[int, Message] = {}
        reasons: dict[int, str] = {c: "not there" for c in chosen if c not in self.nodes}
        for reply in exchange(self.grid, messages, time.monotonic() + federation.round_timeout):
            client = present[reply.metadata.src_node_id]
            try:
                self._accept(reply, result)
                good[client] = reply
            except MismatchError as error:
                reasons[client] = str(error)
        for client in chosen:
            if client in good:
                result.clients.append(self._summary(client, good[client]))
            else:
                reason = reasons.get(client, f"no answer in {federation.round_timeout:g} s")
                name = job.clients[client].name
                result.failed.append({"client": client, "name": name, "reason": reason})
        lost = [(f["client"], f["reason"]) for f in result.failed]
        _require(job, len(good), lost, [], number)
        in_order = [good[client] for client in sorted(good)]
        self.state = aggregate(self.strategy, number, in_order)
        result.seconds = time.monotonic() - started
        return result

    def _accept(self, reply: Message, result: Round) -> None:
        """Checks a reply; what is not a fitting, finite adapter never reaches the average."""
        if reply.has_error():
            raise MismatchError(_reason(reply))
        content = reply.content
        if ADAPTER not in content or METRICS not in content:
            raise MismatchError("the reply holds no adapter")
        result.bytes_up += content[ADAPTER].count_bytes() + content[METRICS].count_bytes()
        adapter.check(content[ADAPTER].to_torch_state_dict(), self.state)

    def _summary(self, client: int, reply: Message) -> dict[str, Any]:
        metrics = reply.content[METRICS]
        return {
            "client": client,
            "name": self.job.clients[client].name,
            "examples": int(metrics["num-examples"]),
            "tokens": int(metrics["num-tokens"]),
            "steps": int(metrics["num-steps"]),
            "train_loss": round(float(metrics["train-loss"]), 6),
            "seconds": round(float(metrics["seconds"]), 3),
        }


def _require(
    job: Job,
    good: int,
    lost: Sequence[tuple[int, str | None]],
    reasons: Sequence[str],
    number: int | None = None,
) -> None:
    needed = job.federation.min_clients
    if good >= needed:
        return
    where = "the federation cannot start" if number is None else f"round {number} stops"
    named = [f"{c} ({job.clients[c].name}){f': {why}' if why else ''}" for c, why in lost]
    detail = "\n  ".join([*named, *dict.fromkeys(reasons)])
    raise UserError(
        f"{where}: {good} of the {needed} clients that federation.min_clients asks for answered\n"
        f"  missing or failed:\n  {detail}"
    )


def _reason(reply: Message) -> str:
    """What went wrong on a client, without Flower's wrapping."""
    text = str(reply.error.reason or f"error {reply.error.code}").removesuffix("'>")
    return text.split(":<'", 1)[-1].rpartition("Message: ")[2].strip()

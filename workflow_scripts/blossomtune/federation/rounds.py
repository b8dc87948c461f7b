"""The rounds of a federation: who takes part, what came back, what it made.

Flower's strategies sample by random node numbers and aggregate in order of arrival. Here both
follow from the seed and the client's number, so that the same configuration gives the same
adapter, whatever arrives when.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ArrayRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.differential_privacy import KEY_NORM_BIT

from blossomtune.config.adapters import scale
from blossomtune.config.combinations import RESTARTING
from blossomtune.config.strategies import fewest
from blossomtune.federation import adapter, messages, plan, privacy, scaffold, wire
from blossomtune.federation.adapter import MismatchError, State
from blossomtune.federation.aggregation import cut
from blossomtune.federation.combining import combine
from blossomtune.federation.job import Job
from blossomtune.federation.messages import METRICS
from blossomtune.federation.naming import Folds, above, below, named, unnamed
from blossomtune.federation.nodes import exchange, reason, require, roster
from blossomtune.federation.strategies import Result, ServerStrategy


class OverBudgetError(Exception):
    """The next round does not fit into the budget; says what it would need."""


@dataclass
class Round:
    """What one round did, for history.json."""

    number: int
    learning_rate: float | None = None
    clients: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    client_evaluation: dict[str, Any] | None = None
    evaluation: dict[str, float] | None = None
    drift: dict[str, Any] | None = None
    privacy: dict[str, float] | None = None
    gpus: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """The round as history.json has it."""
        examples = sum(c["examples"] for c in self.clients)
        loss = sum(c["train_loss"] * c["examples"] for c in self.clients)
        scored = self.client_evaluation or {"clients": [], "failed": []}
        asked = [*self.clients, *self.failed, *scored["clients"], *scored["failed"]]
        return {
            "round": self.number,
            "learning_rate": self.learning_rate,
            "train_loss": round(loss / examples, 6) if examples else None,
            "evaluation": self.evaluation,
            "client_evaluation": self.client_evaluation,
            "clients": self.clients,
            "failed": self.failed,
            "tokens": sum(c["tokens"] for c in self.clients),
            "bytes_down": sum(c["bytes_down"] for c in asked),
            "bytes_up": sum(c["bytes_up"] for c in asked),
            "drift": self.drift,
            "privacy": self.privacy,
            "seconds": round(self.seconds, 3),
            **({"gpus": self.gpus} if self.gpus else {}),
        }


class Federation:
    """Runs rounds on the nodes of a grid.

    Args:
        grid: Flower's connection to the nodes.
        job: what to run.
        state: the adapter to start from.
        saved: ``server`` after the last round, or nothing before the first.
        history: the records of all rounds so far.
    """

    def __init__(
        self,
        grid: Grid,
        job: Job,
        run: str,
        state: State,
        saved: Mapping[str, Any] | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        owners: Mapping[int, int] | None = None,
    ) -> None:
        saved = dict(saved or {})
        self.grid, self.job, self.run_name, self.state = grid, job, run, state
        self.strategy = ServerStrategy(job.federation, job.seed, below("strategy", saved))
        self.residual = below("residual", saved)
        self.folded: Folds = unnamed(below("fold", saved))
        self.control: State | None = None
        if job.federation.strategy.name == "scaffold":
            zeros = {name: value.new_zeros(value.shape) for name, value in self._trained(1).items()}
            self.control = below("control", saved) or zeros
        self.last = {c["client"]: r["round"] for r in history for c in r["clients"]}
        self.moved = sum(r["bytes_down"] + r["bytes_up"] for r in history)
        self.nodes = roster(grid, job, owners)

    def server(self) -> State:
        """What a checkpoint needs besides the adapter, as tensors."""
        return {
            **above("strategy", self.strategy.state()),
            **above("residual", self.residual),
            **above("control", self.control or {}),
            **above("fold", named(self.folded)),
        }

    def run(self, number: int) -> Round:
        """Trains one round and makes what came of it the new ``state``.

        Raises:
            OverBudgetError: before anything is sent, where the budget is too small for the round.
            UserError: where fewer clients than needed sent something useful.
        """
        started = time.monotonic()
        job, federation = self.job, self.job.federation
        chosen = plan.sample(job.seed, number, len(job.clients), federation.fraction_train)
        present = [client for client in chosen if client in self.nodes]
        result = Round(number, plan.learning_rate(job.training, number, federation.rounds))
        sent, residual = self._send(number, present, self.strategy.config())
        starts = {rank: self._trained(number, state) for rank, (_, state) in sent.adapters.items()}
        self._within_budget(number, sent.sizes, starts)
        self.residual = residual

        answers: dict[int, Answered] = {}
        reasons = {c: "not there" for c in chosen if c not in self.nodes}
        bytes_up = dict.fromkeys(chosen, 0)
        for client, reply in self._ask(sent.contents, MessageType.TRAIN):
            try:
                if reply.has_error():
                    raise MismatchError(reason(reply))
                bytes_up[client] = wire.size(reply.content)
                state, control = messages.read_answer(
                    reply.content,
                    starts[job.clients[client].rank],
                    federation.communication.precision,
                    scaffold=self.control is not None,
                )
                numbers = messages.read_numbers(reply.content)
                answers[client] = Answered(state, control, numbers, _clipped(reply.content))
            except ValueError as error:
                reasons[client] = str(error)
        for client in chosen:
            moved = {
                "bytes_down": sent.sizes.get(client, 0),
                "bytes_up": bytes_up[client],
            }
            who = {"client": client, "name": job.clients[client].name}
            if client in answers:
                rank = {"rank": job.clients[client].rank}
                result.clients.append(who | rank | answers[client].numbers | moved)
            else:
                why = reasons.get(client, f"no answer in {federation.round_timeout:g} s")
                result.failed.append(who | {"reason": why} | moved)
        self._require(number, len(answers), result.failed)
        in_order = {client: answers[client] for client in sorted(answers)}
        self._combine(number, starts, in_order, result)
        self.moved += sum(sent.sizes.values()) + sum(bytes_up.values())
        if federation.fraction_evaluate:
            result.client_evaluation = self._evaluate(number)
        result.seconds = time.monotonic() - started
        return result

    def _combine(
        self,
        number: int,
        starts: Mapping[int, State],
        answers: Mapping[int, "Answered"],
        result: Round,
    ) -> None:
        """Makes of the answers, in the order of the clients, what the next round starts from."""
        job, federation = self.job, self.job.federation
        held = federation.client_weights == "held"
        weights = {
            client: job.clients[client].rows if held else answer.numbers["examples"]
            for client, answer in answers.items()
        }
        if self.control is not None:  # c is a plain mean: with another one, clients never settle
            weights = dict.fromkeys(answers, 1)
        results = {
            client: Result(answer.state, weights[client], answer.clipped)
            for client, answer in answers.items()
        }
        start = starts.get(job.lora.r, self._trained(number))
        made = combine(job, self.strategy, number, self.state, start, results)
        self.state, result.drift = made.state, made.drift
        if made.folded:  # as clients get it, which may be rounded
            sent = messages.folds({number: made.folded}, federation.communication.precision)
            self.folded |= unnamed(wire.decode(sent))
        if self.control is not None:
            changes = [a.control for a in answers.values() if a.control is not None]
            self.control = scaffold.server_control(self.control, changes, len(job.clients))
        if federation.privacy:
            asked = federation.sampled(len(job.clients))
            spent = privacy.spent(federation.privacy, len(job.clients), asked, number)
            result.privacy = spent | (self.strategy.record() or {})
        self.last |= dict.fromkeys(answers, number)

    def _evaluate(self, number: int) -> dict[str, Any] | None:
        """Has clients score the new adapter on rows that they hold out, if the budget allows it."""
        job, budget = self.job, self.job.federation.communication.budget_mb
        share = job.federation.fraction_evaluate
        # Losses that are compared are those of the same clients.
        when = 0 if job.federation.decides else number
        chosen = plan.sample(job.seed, when, len(job.clients), share, "evaluating clients")
        sent, _ = self._send(number + 1, [c for c in chosen if c in self.nodes])
        needed = sum(sent.sizes.values()) + len(chosen) * messages.SCORE
        if budget is not None and self.moved + needed > budget * 1e6:
            return None
        limit = f"no answer in {job.federation.round_timeout:g} s"
        found: dict[int, dict[str, Any]] = {
            client: {"reason": limit, "bytes_up": 0} for client in sent.contents
        }
        for client, reply in self._ask(sent.contents, MessageType.EVALUATE):
            if reply.has_error():
                found[client] = {"reason": reason(reply), "bytes_up": 0}
                continue
            score = messages.read_score(reply.content)
            senseless = {"reason": "the score makes no sense"}
            found[client] = (score or senseless) | {"bytes_up": wire.size(reply.content)}
        asked = [
            {"client": client, "name": job.clients[client].name, "bytes_down": sent.sizes[client]}
            | found[client]
            for client in sorted(found)
        ]
        self.moved += sum(c["bytes_down"] + c["bytes_up"] for c in asked)
        clients = [c for c in asked if "loss" in c]
        rows = sum(c["rows"] for c in clients)
        loss = sum(c["loss"] * c["rows"] for c in clients) / rows if clients else None
        return {
            "loss": None if loss is None else round(loss, 6),
            "clients": clients,
            "failed": [c for c in asked if "reason" in c],
        }

    def _trained(self, number: int, state: State | None = None) -> State:
        """The part of an adapter that clients train in a round."""
        chosen = plan.factor(self.job.federation.aggregation, number)
        return adapter.part(self.state if state is None else state, chosen)

    def _send(
        self, number: int, clients: Sequence[int], besides: Mapping[str, float] | None = None
    ) -> tuple["Sent", State]:
        """The contents of messages to clients, and what their precision leaves for later."""
        job, precision = self.job, self.job.federation.communication.precision
        aggregation = job.federation.aggregation
        travelling = adapter.part(self.state, "B" if aggregation == "ffa" else "both")
        known, residual = travelling, {}
        if aggregation not in RESTARTING:  # else a number is not the same one in the next round
            coded, residual = wire.encode(travelling, precision, self.residual)
            known = wire.decode(coded)
        adapters: dict[int, tuple[ArrayRecord, State]] = {}
        for rank in {job.clients[client].rank for client in clients}:
            to = scale(job.lora, rank)
            smaller = cut(known, rank, scale(job.lora, job.lora.r), to)
            record, _ = wire.encode(smaller, precision)
            adapters[rank] = (record, wire.decode(record))
        control = wire.encode(self.control, "float32")[0] if self.control is not None else None
        made: dict[tuple[int, int], tuple[RecordDict, int]] = {}
        for rank, last in {(job.clients[c].rank, self.last.get(c, 0)) for c in clients}:
            news = {n: f for n, f in self.folded.items() if n >= last}  # what its round made, too
            content = messages.order(
                adapters[rank][0],
                number,
                last,
                self.run_name,
                folded=messages.folds(news, precision) if news else None,
                control=control if besides is not None else None,
                besides=besides,
            )
            made[rank, last] = content, wire.size(content)
        each = {c: made[job.clients[c].rank, self.last.get(c, 0)] for c in clients}
        contents = {client: content for client, (content, _) in each.items()}
        return Sent(contents, {c: size for c, (_, size) in each.items()}, adapters), residual

    def _ask(self, contents: Mapping[int, RecordDict], kind: str) -> Any:
        """Sends to each client what is for it, and yields the replies as they come."""
        client_of = {self.nodes[client]: client for client in contents}
        asked = [Message(content, self.nodes[c], kind) for c, content in contents.items()]
        end = time.monotonic() + self.job.federation.round_timeout
        for message, reply in exchange(self.grid, asked, end):
            yield client_of[message.metadata.dst_node_id], reply

    def _within_budget(
        self, number: int, sizes: Mapping[int, int], starts: Mapping[int, State]
    ) -> None:
        """Stops before a round that would move more than is left."""
        job, communication = self.job, self.job.federation.communication
        if communication.budget_mb is None:
            return
        bit = privacy.sends_norm_bit(job.federation.privacy)
        besides = {"scaffold": self.control is not None, "norm_bit": bit}
        answer = {
            rank: messages.expected(start, communication.precision, **besides)
            for rank, start in starts.items()
        }
        needed = sum(size + answer[job.clients[client].rank] for client, size in sizes.items())
        left = communication.budget_mb * 1e6 - self.moved
        if needed > left:
            raise OverBudgetError(
                f"round {number} would move {needed / 1e6:.1f} MB, and of the budget of "
                f"{communication.budget_mb:g} MB {left / 1e6:.1f} MB are left"
            )

    def _require(self, number: int, good: int, failed: Sequence[Mapping[str, Any]]) -> None:
        federation = self.job.federation
        needed = max(federation.min_clients, fewest(federation.strategy))
        lost = [(f["client"], f["reason"]) for f in failed]
        require(self.job, good, needed, lost, number=number)


@dataclass(frozen=True)
class Sent:
    """Contents and their bytes by client; by rank the adapter, as it travels and as it is read."""

    contents: dict[int, RecordDict]
    sizes: dict[int, int]
    adapters: dict[int, tuple[ArrayRecord, State]]


@dataclass(frozen=True)
class Answered:
    """A client's answer, checked; ``clipped`` is what Flower's mod says of it, or None."""

    state: State
    control: State | None
    numbers: dict[str, Any]
    clipped: bool | None


def _clipped(content: RecordDict) -> bool | None:
    numbers = content[METRICS]
    return bool(numbers[KEY_NORM_BIT]) if KEY_NORM_BIT in numbers else None

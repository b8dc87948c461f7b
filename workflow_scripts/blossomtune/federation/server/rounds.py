"""The rounds of a federation: who takes part, what came back, what it made.

Flower's strategies sample by random node numbers and aggregate in order of arrival. Here both
follow from the seed and the client's number, so that the same configuration gives the same
adapter, whatever arrives when.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import ArrayRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from blossomtune.aggregation.layers import truncate_rank
from blossomtune.aggregation.registry import select_trainable_factor
from blossomtune.artifacts.round_record import (
    ClientEvaluation,
    ClientFailure,
    ClientTrainRecord,
    FederatedEvaluation,
    PrivacySpent,
    RoundRecord,
)
from blossomtune.config.conflicts import REINITIALIZING_AGGREGATIONS
from blossomtune.config.lora import compute_scaling
from blossomtune.config.strategies import compute_min_clients
from blossomtune.federation.messages import codec, replies, requests
from blossomtune.federation.messages.base_deltas import (
    BaseDeltas,
    flatten_base_deltas,
    unflatten_base_deltas,
)
from blossomtune.federation.messages.replies import ValidatedReply, read_norm_bit
from blossomtune.federation.server.aggregate_round import aggregate_round
from blossomtune.federation.server.nodes import (
    discover_clients,
    extract_error_message,
    require_enough_clients,
    send_and_receive,
)
from blossomtune.federation.server.round_result import RoundResult
from blossomtune.federation.server.strategies import ServerStrategy, WeightedState
from blossomtune.federation.spec import FederationSpec
from blossomtune.named_tensors import StateDict, add_prefix, strip_prefix
from blossomtune.privacy import accounting, record_keys
from blossomtune.training import adapter, scaffold, schedule
from blossomtune.training.adapter import AdapterMismatchError


class OverBudgetError(Exception):
    """The next round does not fit into the budget; says what it would need."""


class RoundRunner:
    """Runs rounds on the nodes of a grid.

    Args:
        grid: Flower's connection to the nodes.
        spec: what to train.
        state: the adapter to start from.
        saved: ``server`` after the last round, or nothing before the first.
        history: the records of all rounds so far.
    """

    def __init__(
        self,
        grid: Grid,
        spec: FederationSpec,
        run_name: str,
        adapter_state: StateDict,
        server_state: Mapping[str, Any] | None = None,
        history: Sequence[RoundRecord] = (),
        authenticated_clients: Mapping[int, int] | None = None,
    ) -> None:
        server_state = dict(server_state or {})
        self.grid, self.spec, self.run_name, self.adapter_state = (
            grid,
            spec,
            run_name,
            adapter_state,
        )
        self.strategy = ServerStrategy(
            spec.federation, spec.seed, strip_prefix("strategy", server_state)
        )
        self.residual = strip_prefix("residual", server_state)
        self.base_deltas: BaseDeltas = unflatten_base_deltas(strip_prefix("fold", server_state))
        self.control_variate: StateDict | None = None
        if spec.federation.strategy.name == "scaffold":
            zeros = {
                name: value.new_zeros(value.shape)
                for name, value in self._get_trainable_state(1).items()
            }
            self.control_variate = strip_prefix("control", server_state) or zeros
        self.last_participation = {c.client: r.round for r in history for c in r.clients}
        self.bytes_moved = sum(r.bytes_moved for r in history)
        self.node_ids = discover_clients(grid, spec, authenticated_clients)

    def get_server_state(self) -> StateDict:
        """What a checkpoint needs besides the adapter, as tensors."""
        return {
            **add_prefix("strategy", self.strategy.state_dict()),
            **add_prefix("residual", self.residual),
            **add_prefix("control", self.control_variate or {}),
            **add_prefix("fold", flatten_base_deltas(self.base_deltas)),
        }

    def run_round(self, round_number: int) -> RoundResult:
        """Trains one round and makes what came of it the new ``state``.

        Raises:
            OverBudgetError: before anything is sent, where the budget is too small for the round.
            UserError: where fewer clients than needed sent something useful.
        """
        started = time.monotonic()
        spec, federation = self.spec, self.spec.federation
        chosen = schedule.sample_clients(
            spec.seed, round_number, len(spec.clients), federation.fraction_train
        )
        present = [client for client in chosen if client in self.node_ids]
        result = RoundResult(
            round_number,
            schedule.compute_learning_rate(spec.training, round_number, federation.rounds),
        )
        sent, residual = self._build_requests(
            round_number, present, self.strategy.configure_train()
        )
        starts = {
            rank: self._get_trainable_state(round_number, state)
            for rank, (_, state) in sent.adapter_by_rank.items()
        }
        self._check_budget(round_number, sent.bytes_by_client, starts)
        self.residual = residual

        answers: dict[int, ValidatedReply] = {}
        reasons = {c: "not there" for c in chosen if c not in self.node_ids}
        bytes_up = dict.fromkeys(chosen, 0)
        for client, reply in self._request_replies(sent.content_by_client, MessageType.TRAIN):
            try:
                if reply.has_error():
                    raise AdapterMismatchError(extract_error_message(reply))
                bytes_up[client] = codec.count_message_bytes(reply.content)
                state, control = replies.decode_train_reply(
                    reply.content,
                    starts[spec.clients[client].rank],
                    federation.communication.precision,
                    with_control=self.control_variate is not None,
                )
                numbers = replies.decode_train_metrics(reply.content)
                answers[client] = ValidatedReply(
                    state, control, numbers, read_norm_bit(reply.content)
                )
            except ValueError as error:
                reasons[client] = str(error)
        for client in chosen:
            traffic = {
                "client": client,
                "name": spec.clients[client].name,
                "bytes_down": sent.bytes_by_client.get(client, 0),
                "bytes_up": bytes_up[client],
            }
            if client in answers:
                rank, metrics = spec.clients[client].rank, answers[client].metrics
                result.clients.append(ClientTrainRecord(**traffic, rank=rank, **metrics))
            else:
                reason = reasons.get(client, f"no answer in {federation.round_timeout:g} s")
                result.failed.append(ClientFailure(**traffic, reason=reason))
        self._require_enough_replies(round_number, len(answers), result.failed)
        in_order = {client: answers[client] for client in sorted(answers)}
        self._aggregate(round_number, starts, in_order, result)
        self.bytes_moved += sum(sent.bytes_by_client.values()) + sum(bytes_up.values())
        if federation.fraction_evaluate:
            result.client_evaluation = self._evaluate_clients(round_number)
        result.seconds = time.monotonic() - started
        return result

    def _aggregate(
        self,
        round_number: int,
        start_by_rank: Mapping[int, StateDict],
        replies: Mapping[int, "ValidatedReply"],
        result: RoundResult,
    ) -> None:
        """Makes of the answers, in the order of the clients, what the next round starts from."""
        spec, federation = self.spec, self.spec.federation
        held = federation.client_weights == "held"
        weights = {
            client: spec.clients[client].num_rows if held else answer.metrics["examples"]
            for client, answer in replies.items()
        }
        if (
            self.control_variate is not None
        ):  # c is a plain mean: with another one, clients never settle
            weights = dict.fromkeys(replies, 1)
        results = {
            client: WeightedState(answer.state, weights[client], answer.was_clipped)
            for client, answer in replies.items()
        }
        start = start_by_rank.get(spec.lora.r, self._get_trainable_state(round_number))
        made = aggregate_round(
            spec, self.strategy, round_number, self.adapter_state, start, results
        )
        self.adapter_state, result.drift = made.state, made.drift
        if made.base_deltas:  # as clients get it, which may be rounded
            sent = requests.encode_base_deltas(
                {round_number: made.base_deltas}, federation.communication.precision
            )
            self.base_deltas |= unflatten_base_deltas(codec.decode(sent))
        if self.control_variate is not None:
            changes = [
                a.control_variate_delta
                for a in replies.values()
                if a.control_variate_delta is not None
            ]
            self.control_variate = scaffold.update_server_control(
                self.control_variate, changes, len(spec.clients)
            )
        if federation.privacy:
            asked = federation.count_sampled_clients(len(spec.clients))
            spent = accounting.compute_epsilon(
                federation.privacy, len(spec.clients), asked, round_number
            )
            noise = self.strategy.get_privacy_metrics()
            unknown = {"clipping_norm": None, "noise_deviation": None}
            result.privacy = PrivacySpent(**spent, **(noise or unknown))
        self.last_participation |= dict.fromkeys(replies, round_number)

    def _evaluate_clients(self, round_number: int) -> FederatedEvaluation | None:
        """Has clients score the new adapter on rows that they hold out, if the budget allows it."""
        spec, budget = self.spec, self.spec.federation.communication.budget_mb
        share = spec.federation.fraction_evaluate
        # Losses that are compared are those of the same clients.
        when = 0 if spec.federation.selects_model else round_number
        chosen = schedule.sample_clients(
            spec.seed, when, len(spec.clients), share, "evaluating clients"
        )
        sent, _ = self._build_requests(round_number + 1, [c for c in chosen if c in self.node_ids])
        needed = sum(sent.bytes_by_client.values()) + len(chosen) * replies.MAX_EVALUATE_REPLY_BYTES
        if budget is not None and self.bytes_moved + needed > budget * 1e6:
            return None
        limit = f"no answer in {spec.federation.round_timeout:g} s"
        received: dict[int, Message] = dict(
            self._request_replies(sent.content_by_client, MessageType.EVALUATE)
        )
        clients: list[ClientEvaluation] = []
        failed: list[ClientFailure] = []
        for client in sorted(sent.content_by_client):
            reply = received.get(client)
            has_content = reply is not None and not reply.has_error()
            traffic: dict[str, Any] = {
                "client": client,
                "name": spec.clients[client].name,
                "bytes_down": sent.bytes_by_client[client],
                "bytes_up": codec.count_message_bytes(reply.content) if has_content else 0,
            }
            if reply is None:
                failed.append(ClientFailure(**traffic, reason=limit))
            elif reply.has_error():
                failed.append(ClientFailure(**traffic, reason=extract_error_message(reply)))
            elif score := replies.decode_evaluate_metrics(reply.content):
                clients.append(ClientEvaluation(**traffic, **score))
            else:
                failed.append(ClientFailure(**traffic, reason="the score makes no sense"))
        self.bytes_moved += sum(c.bytes_down + c.bytes_up for c in [*clients, *failed])
        rows = sum(c.rows for c in clients)
        loss = round(sum(c.loss * c.rows for c in clients) / rows, 6) if clients else None
        return FederatedEvaluation(loss=loss, clients=clients, failed=failed)

    def _get_trainable_state(self, round_number: int, state: StateDict | None = None) -> StateDict:
        """The part of an adapter that clients train in a round."""
        chosen = select_trainable_factor(self.spec.federation.aggregation, round_number)
        return adapter.select_factor(self.adapter_state if state is None else state, chosen)

    def _build_requests(
        self,
        round_number: int,
        clients: Sequence[int],
        train_config: Mapping[str, float] | None = None,
    ) -> tuple["RequestBatch", StateDict]:
        """The contents of messages to clients, and what their precision leaves for later."""
        spec, precision = self.spec, self.spec.federation.communication.precision
        aggregation = spec.federation.aggregation
        travelling = adapter.select_factor(
            self.adapter_state, "B" if aggregation == "ffa" else "both"
        )
        known, residual = travelling, {}
        if (
            aggregation not in REINITIALIZING_AGGREGATIONS
        ):  # else a number is not the same one in the next round
            coded, residual = codec.encode(travelling, precision, self.residual)
            known = codec.decode(coded)
        adapters: dict[int, tuple[ArrayRecord, StateDict]] = {}
        for rank in {spec.clients[client].rank for client in clients}:
            to = compute_scaling(spec.lora, rank)
            smaller = truncate_rank(known, rank, compute_scaling(spec.lora, spec.lora.r), to)
            record, _ = codec.encode(smaller, precision)
            adapters[rank] = (record, codec.decode(record))
        control = (
            codec.encode(self.control_variate, "float32")[0]
            if self.control_variate is not None
            else None
        )
        made: dict[tuple[int, int], tuple[RecordDict, int]] = {}
        for rank, last in {
            (spec.clients[c].rank, self.last_participation.get(c, 0)) for c in clients
        }:
            news = {
                n: f for n, f in self.base_deltas.items() if n >= last
            }  # what its round made, too
            content = requests.encode_request(
                adapters[rank][0],
                round_number,
                last,
                self.run_name,
                base_deltas=requests.encode_base_deltas(news, precision) if news else None,
                server_control=control if train_config is not None else None,
                extra_config=train_config,
            )
            made[rank, last] = content, codec.count_message_bytes(content)
        each = {c: made[spec.clients[c].rank, self.last_participation.get(c, 0)] for c in clients}
        contents = {client: content for client, (content, _) in each.items()}
        return RequestBatch(
            contents, {c: size for c, (_, size) in each.items()}, adapters
        ), residual

    def _request_replies(self, contents: Mapping[int, RecordDict], message_type: str) -> Any:
        """Sends to each client what is for it, and yields the replies as they come."""
        client_of = {self.node_ids[client]: client for client in contents}
        asked = [
            Message(content, self.node_ids[c], message_type) for c, content in contents.items()
        ]
        end = time.monotonic() + self.spec.federation.round_timeout
        for message, reply in send_and_receive(self.grid, asked, end):
            yield client_of[message.metadata.dst_node_id], reply

    def _check_budget(
        self,
        round_number: int,
        request_bytes: Mapping[int, int],
        start_by_rank: Mapping[int, StateDict],
    ) -> None:
        """Stops before a round that would move more than is left."""
        spec, communication = self.spec, self.spec.federation.communication
        if communication.budget_mb is None:
            return
        bit = record_keys.sends_norm_bit(spec.federation.privacy)
        besides = {"with_control": self.control_variate is not None, "with_norm_bit": bit}
        answer = {
            rank: replies.compute_max_reply_bytes(start, communication.precision, **besides)
            for rank, start in start_by_rank.items()
        }
        needed = sum(
            size + answer[spec.clients[client].rank] for client, size in request_bytes.items()
        )
        left = communication.budget_mb * 1e6 - self.bytes_moved
        if needed > left:
            raise OverBudgetError(
                f"round {round_number} would move {needed / 1e6:.1f} MB, and of the budget of "
                f"{communication.budget_mb:g} MB {left / 1e6:.1f} MB are left"
            )

    def _require_enough_replies(
        self, round_number: int, num_replies: int, failed: Sequence[ClientFailure]
    ) -> None:
        federation = self.spec.federation
        needed = max(federation.min_clients, compute_min_clients(federation.strategy))
        lost = [(f.client, f.reason) for f in failed]
        require_enough_clients(self.spec, num_replies, needed, lost, round_number=round_number)


@dataclass(frozen=True)
class RequestBatch:
    """Contents and their bytes by client; by rank the adapter, as it travels and as it is read."""

    content_by_client: dict[int, RecordDict]
    bytes_by_client: dict[int, int]
    adapter_by_rank: dict[int, tuple[ArrayRecord, StateDict]]

"""Run the rounds of a federation.

Flower's strategies sample random node ids and aggregate in the order of arrival. Here, sampling
depends on the seed, and the order is that of the clients. So one configuration gives one adapter.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from blossomtune.artifacts.round_record import (
    FederatedEvaluation,
    PrivacySpent,
    RoundRecord,
    ServerEvaluation,
)
from blossomtune.config.federation import PrivacySettings
from blossomtune.config.strategies import compute_min_clients
from blossomtune.federation.messages.base_deltas import flatten_base_deltas
from blossomtune.federation.messages.replies import (
    MAX_EVALUATE_REPLY_BYTES,
    compute_max_reply_bytes,
)
from blossomtune.federation.messages.reply_validation import ValidatedReply
from blossomtune.federation.server.acceptance import (
    find_non_finite_loss,
    find_non_finite_value,
)
from blossomtune.federation.server.aggregate_round import aggregate_round
from blossomtune.federation.server.audit import ServerAudit
from blossomtune.federation.server.budget import CommunicationBudget
from blossomtune.federation.server.collect_replies import (
    TrainReplies,
    collect_evaluate_replies,
    collect_train_replies,
)
from blossomtune.federation.server.membership import Membership
from blossomtune.federation.server.nodes import require_enough_clients, send_and_receive
from blossomtune.federation.server.participation import count_sampled_rounds
from blossomtune.federation.server.quarantine import NODE_UNAVAILABLE, Quarantine
from blossomtune.federation.server.request_batch import RequestBatch, build_requests
from blossomtune.federation.server.round_result import RoundResult
from blossomtune.federation.server.server_state import ServerState
from blossomtune.federation.server.strategies import WeightedState
from blossomtune.federation.server.tensor_spool import TensorSpool
from blossomtune.federation.spec import FederationSpec
from blossomtune.named_tensors import StateDict, add_prefix
from blossomtune.privacy.accounting import compute_epsilon
from blossomtune.privacy.record_keys import sends_norm_bit
from blossomtune.training.client_sampling import sample_clients
from blossomtune.training.scaffold import update_server_control
from blossomtune.training.schedule import compute_learning_rate

if TYPE_CHECKING:
    from blossomtune.training.checkpoints import Checkpoint

Evaluate = Callable[[ServerState], ServerEvaluation | None]


def skip_evaluation(_: ServerState) -> None:
    """Evaluate nothing on the server."""


class RoundRunner:
    """Rounds on the nodes of a grid.

    Args:
        grid: Connection to the nodes.
        spec: What is trained.
        run_name: Identifier of the run, which clients store their state under.
        checkpoint: Checkpoint to continue from.
        authenticated_clients: The client whose key a node has, by node id, if nodes have keys.
        spool_dir: Folder on the disk that the replies of a round are written to; None for the
            system's temporary folder.
        audit: Record of nodes and messages.

    Attributes:
        state: State of the server after the last round.
    """

    def __init__(
        self,
        grid: Grid,
        spec: FederationSpec,
        run_name: str,
        checkpoint: "Checkpoint[RoundRecord]",
        authenticated_clients: Mapping[int, int] | None = None,
        spool_dir: Path | None = None,
        audit: ServerAudit | None = None,
    ) -> None:
        self._grid, self._spec, self._run_name = grid, spec, run_name
        self._spool_dir, self._audit = spool_dir, audit or ServerAudit()
        self.state = ServerState(spec, checkpoint, spool_dir)
        budget_mb = spec.federation.communication.budget_mb
        self._budget = CommunicationBudget(budget_mb, checkpoint.history)
        self._sampled_rounds = count_sampled_rounds(checkpoint.history)
        self._members = Membership(grid, spec, authenticated_clients, self._audit)
        self._members.wait_at_start()
        self._quarantine = Quarantine(spec.federation.quarantine)
        self._connected: set[int] = set()  # clients that the last messages reached

    def run_round(self, round_number: int, evaluate: Evaluate = skip_evaluation) -> RoundResult:
        """Train one round and update the state.

        A round whose result is not finite does not change the state.

        Args:
            round_number: Number of the round, from 1.
            evaluate: Evaluates the new state on the server.

        Returns:
            Record of the round.

        Raises:
            OverBudgetError: If the budget is too small for the round. Nothing was sent then.
            UserError: If too few clients sent a valid reply.
        """
        started = time.monotonic()
        spec, federation, state = self._spec, self._spec.federation, self.state
        available = self._members.wait_for_round(round_number, self._num_required)
        # The accounting of differential privacy assumes samples of all clients.
        candidates = range(len(spec.clients)) if federation.privacy else available
        sampled = sample_clients(spec.seed, round_number, candidates, federation.fraction_train)
        requests = self._build_requests(round_number, sampled, state.strategy.configure_train())
        start_by_rank = {
            rank: state.select_trainable(round_number, received)
            for rank, received in requests.received_states.items()
        }
        self._budget.require(round_number, self._compute_max_bytes(requests, start_by_rank))
        state_before = state.copy()
        state.residual = requests.residual

        with TensorSpool(self._spool_dir) as spool:
            result = self._train_on_clients(round_number, sampled, requests, start_by_rank, spool)
        result.absent = [client.name for i, client in enumerate(spec.clients) if i not in available]
        self._sampled_rounds.update(sampled)
        if federation.privacy:
            result.privacy = self._compute_privacy(federation.privacy, round_number)
        if result.rejection is None:
            evaluation_started = time.monotonic()
            result.evaluation = evaluate(state)
            started += time.monotonic() - evaluation_started
            result.rejection = find_non_finite_loss(result.evaluation)
        if result.rejection:
            self.state = state_before
            result.evaluation, result.drift = None, None
        elif federation.fraction_evaluate:
            result.client_evaluation = self._evaluate_on_clients(round_number)
        result.seconds = time.monotonic() - started
        return result

    def _train_on_clients(
        self,
        round_number: int,
        sampled_clients: list[int],
        requests: RequestBatch,
        start_by_rank: Mapping[int, StateDict],
        spool: TensorSpool,
    ) -> RoundResult:
        """Let clients train, and aggregate their replies."""
        spec, state = self._spec, self.state
        learning_rate = compute_learning_rate(spec.training, round_number, spec.federation.rounds)
        replies = collect_train_replies(
            spec,
            sampled_clients,
            requests,
            start_by_rank,
            self._send(round_number, requests.contents, MessageType.TRAIN),
            spool,
            server_control=state.control_variate,
            learning_rate=learning_rate,
        )
        failed = self._quarantine.update(
            MessageType.TRAIN, self._connected, replies.valid, replies.failed
        )
        replies = replace(replies, failed=failed)
        traffic = [*replies.records, *replies.failed]
        self._audit.record_replies(round_number, MessageType.TRAIN, traffic)
        self._budget.spend(traffic)
        self._require_enough_replies(round_number, replies)
        result = RoundResult(
            round_number, learning_rate, clients=replies.records, failed=replies.failed
        )
        start = start_by_rank.get(spec.lora.r, state.select_trainable(round_number))
        self._aggregate(replies.valid, start, result)
        return result

    def _aggregate(
        self, replies: Mapping[int, ValidatedReply], start: StateDict, result: RoundResult
    ) -> None:
        """Update the server's state with the replies, in the order of the clients."""
        spec, state = self._spec, self.state
        results = {
            client: WeightedState(reply.state, self._get_weight(client, reply), reply.was_clipped)
            for client, reply in replies.items()
        }
        try:
            aggregated = aggregate_round(
                spec, state.strategy, result.number, state.adapter, start, results
            )
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            result.rejection = "the clients' updates cannot be decomposed"
            return
        state.adapter, result.drift = aggregated.state, aggregated.drift
        if aggregated.base_deltas:
            state.add_base_deltas(result.number, aggregated.base_deltas)
        if state.control_variate is not None:
            deltas = [r.control_delta for r in replies.values() if r.control_delta is not None]
            state.control_variate = update_server_control(
                state.control_variate, deltas, len(spec.clients)
            )
        state.last_participation |= dict.fromkeys(replies, result.number)
        result.rejection = find_non_finite_value(
            result.drift,
            [
                *aggregated.state.items(),
                *flatten_base_deltas({result.number: aggregated.base_deltas}).items(),
                *add_prefix("control", state.control_variate or {}).items(),
                *state.strategy.state_dict().items(),
            ],
        )

    def _get_weight(self, client: int, reply: ValidatedReply) -> float:
        """Return a client's aggregation weight."""
        if self.state.control_variate is not None:
            return 1.0  # c is a plain mean, and with another one clients do not converge
        if self._spec.federation.client_weights == "held":
            return self._spec.clients[client].num_rows
        return float(reply.metrics["examples"])

    def _compute_privacy(self, privacy: PrivacySettings, round_number: int) -> PrivacySpent:
        """Return the privacy cost of all rounds so far."""
        num_clients = len(self._spec.clients)
        num_sampled = self._spec.federation.count_sampled_clients(num_clients)
        spent = compute_epsilon(privacy, num_clients, num_sampled, round_number)
        metrics = self.state.strategy.get_privacy_metrics()
        return PrivacySpent(**spent, **(metrics or {}))

    def _evaluate_on_clients(self, round_number: int) -> FederatedEvaluation | None:
        """Let clients evaluate the new adapter on their validation rows, if the budget allows."""
        spec, federation = self._spec, self._spec.federation
        # Losses of different rounds are only comparable if the clients are the same.
        sampling_round = 0 if federation.selects_model else round_number
        sampled = sample_clients(
            spec.seed,
            sampling_round,
            range(len(spec.clients)),
            federation.fraction_evaluate,
            "evaluating clients",
        )
        requests = self._build_requests(round_number + 1, sampled)
        max_reply_bytes = len(sampled) * MAX_EVALUATE_REPLY_BYTES
        if not self._budget.allows(sum(requests.sizes.values()) + max_reply_bytes):
            return None
        messages = self._send(round_number, requests.contents, MessageType.EVALUATE)
        evaluation = collect_evaluate_replies(spec, requests, messages)
        successful = [record.client for record in evaluation.clients]
        failed = self._quarantine.update(
            MessageType.EVALUATE, self._connected, successful, evaluation.failed
        )
        evaluation = evaluation.model_copy(update={"failed": failed})
        traffic = [*evaluation.clients, *evaluation.failed]
        self._audit.record_replies(round_number, MessageType.EVALUATE, traffic)
        self._budget.spend(traffic)
        return evaluation

    def _build_requests(
        self,
        round_number: int,
        sampled_clients: list[int],
        train_config: Mapping[str, float] | None = None,
    ) -> RequestBatch:
        """Encode a message for each sampled client that has a node and is not in quarantine."""
        clients = [
            client
            for client in sampled_clients
            if client in self._members.node_ids and client not in self._quarantine
        ]
        return build_requests(
            self._spec,
            self.state,
            self._run_name,
            round_number,
            {client: self._sampled_rounds[client] for client in clients},
            train_config,
        )

    def _send(
        self, round_number: int, contents: Mapping[int, RecordDict], message_type: str
    ) -> Iterator[tuple[int, Message]]:
        """Send each client its message, and yield clients and replies in order of arrival."""
        self._audit.record_requests(round_number, message_type, contents)
        clients = {self._members.node_ids[client]: client for client in contents}
        messages = [
            Message(content, self._members.node_ids[client], message_type)
            for client, content in contents.items()
        ]
        deadline = time.monotonic() + self._spec.federation.round_timeout
        self._connected = set(contents)
        for message, reply in send_and_receive(self._grid, messages, deadline):
            client = clients[message.metadata.dst_node_id]
            self._audit.note_reply(client, reply)
            if reply.has_error() and reply.error.code == NODE_UNAVAILABLE:
                self._connected.remove(client)
            yield client, reply

    def _compute_max_bytes(
        self, requests: RequestBatch, start_by_rank: Mapping[int, StateDict]
    ) -> int:
        """Return an upper bound for the size of a round's messages; 0 without a budget."""
        federation = self._spec.federation
        if self._budget.budget_mb is None:
            return 0
        reply_bytes = {
            rank: compute_max_reply_bytes(
                start,
                federation.communication.precision,
                with_control=self.state.control_variate is not None,
                with_norm_bit=sends_norm_bit(federation.privacy),
            )
            for rank, start in start_by_rank.items()
        }
        ranks = {client: self._spec.clients[client].rank for client in requests.sizes}
        return sum(size + reply_bytes[ranks[client]] for client, size in requests.sizes.items())

    def _require_enough_replies(self, round_number: int, replies: TrainReplies) -> None:
        """Raise if too few clients sent a valid reply."""
        missing = [(failure.client, failure.reason) for failure in replies.failed]
        require_enough_clients(
            self._spec, len(replies.valid), self._num_required, missing, round_number=round_number
        )

    @property
    def _num_required(self) -> int:
        """Number of clients that a round needs."""
        federation = self._spec.federation
        return max(federation.min_clients, compute_min_clients(federation.strategy))

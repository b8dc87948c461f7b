"""Run the rounds of a federation.

Flower's strategies sample random node ids and aggregate in the order of arrival. Here, sampling
depends on the seed, and the order is that of the clients. So one configuration gives one adapter.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from blossomtune.artifacts.round_record import FederatedEvaluation, PrivacySpent, RoundRecord
from blossomtune.config.federation import PrivacySettings
from blossomtune.config.strategies import compute_min_clients
from blossomtune.federation.messages.replies import (
    MAX_EVALUATE_REPLY_BYTES,
    ValidatedReply,
    compute_max_reply_bytes,
)
from blossomtune.federation.server.aggregate_round import aggregate_round
from blossomtune.federation.server.budget import CommunicationBudget
from blossomtune.federation.server.collect_replies import (
    TrainReplies,
    collect_evaluate_replies,
    collect_train_replies,
)
from blossomtune.federation.server.nodes import (
    discover_clients,
    require_enough_clients,
    send_and_receive,
)
from blossomtune.federation.server.request_batch import RequestBatch, build_requests
from blossomtune.federation.server.round_result import RoundResult
from blossomtune.federation.server.server_state import ServerState
from blossomtune.federation.server.strategies import WeightedState
from blossomtune.federation.server.tensor_spool import TensorSpool
from blossomtune.federation.spec import FederationSpec
from blossomtune.named_tensors import StateDict
from blossomtune.privacy.accounting import compute_epsilon
from blossomtune.privacy.record_keys import sends_norm_bit
from blossomtune.training.client_sampling import sample_clients
from blossomtune.training.scaffold import update_server_control
from blossomtune.training.schedule import compute_learning_rate

if TYPE_CHECKING:
    from blossomtune.training.checkpoints import Checkpoint


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
    ) -> None:
        self._grid, self._spec, self._run_name = grid, spec, run_name
        self._spool_dir = spool_dir
        self.state = ServerState(spec, checkpoint, spool_dir)
        budget_mb = spec.federation.communication.budget_mb
        self._budget = CommunicationBudget(budget_mb, checkpoint.history)
        self._node_ids = discover_clients(grid, spec, authenticated_clients)

    def run_round(self, round_number: int) -> RoundResult:
        """Train one round and update the state.

        Args:
            round_number: Number of the round, from 1.

        Returns:
            Record of the round, still without the server's evaluation.

        Raises:
            OverBudgetError: If the budget is too small for the round. Nothing was sent then.
            UserError: If too few clients sent a valid reply.
        """
        started = time.monotonic()
        spec, federation, state = self._spec, self._spec.federation, self.state
        sampled = sample_clients(
            spec.seed, round_number, len(spec.clients), federation.fraction_train
        )
        requests = self._build_requests(round_number, sampled, state.strategy.configure_train())
        start_by_rank = {
            rank: state.select_trainable(round_number, received)
            for rank, received in requests.received_states.items()
        }
        self._budget.require(round_number, self._compute_max_bytes(requests, start_by_rank))
        state.residual = requests.residual

        with TensorSpool(self._spool_dir) as spool:
            result = self._train_on_clients(round_number, sampled, requests, start_by_rank, spool)
        if federation.privacy:
            result.privacy = self._compute_privacy(federation.privacy, round_number)
        if federation.fraction_evaluate:
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
        messages = self._send(requests.contents, MessageType.TRAIN)
        replies = collect_train_replies(
            spec, sampled_clients, requests, start_by_rank, messages, spool
        )
        self._budget.spend([*replies.records, *replies.failed])
        self._require_enough_replies(round_number, replies)
        learning_rate = compute_learning_rate(spec.training, round_number, spec.federation.rounds)
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
        aggregated = aggregate_round(
            spec, state.strategy, result.number, state.adapter, start, results
        )
        state.adapter, result.drift = aggregated.state, aggregated.drift
        if aggregated.base_deltas:
            state.add_base_deltas(result.number, aggregated.base_deltas)
        if state.control_variate is not None:
            deltas = [r.control_delta for r in replies.values() if r.control_delta is not None]
            state.control_variate = update_server_control(
                state.control_variate, deltas, len(spec.clients)
            )
        state.last_participation |= dict.fromkeys(replies, result.number)

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
            len(spec.clients),
            federation.fraction_evaluate,
            "evaluating clients",
        )
        requests = self._build_requests(round_number + 1, sampled)
        max_reply_bytes = len(sampled) * MAX_EVALUATE_REPLY_BYTES
        if not self._budget.allows(sum(requests.sizes.values()) + max_reply_bytes):
            return None
        messages = self._send(requests.contents, MessageType.EVALUATE)
        evaluation = collect_evaluate_replies(spec, requests, messages)
        self._budget.spend([*evaluation.clients, *evaluation.failed])
        return evaluation

    def _build_requests(
        self,
        round_number: int,
        sampled_clients: list[int],
        train_config: Mapping[str, float] | None = None,
    ) -> RequestBatch:
        """Encode a message for each sampled client that has a node."""
        clients = [client for client in sampled_clients if client in self._node_ids]
        return build_requests(
            self._spec, self.state, self._run_name, round_number, clients, train_config
        )

    def _send(
        self, contents: Mapping[int, RecordDict], message_type: str
    ) -> Iterator[tuple[int, Message]]:
        """Send each client its message, and yield clients and replies in order of arrival."""
        clients = {self._node_ids[client]: client for client in contents}
        messages = [
            Message(content, self._node_ids[client], message_type)
            for client, content in contents.items()
        ]
        deadline = time.monotonic() + self._spec.federation.round_timeout
        for message, reply in send_and_receive(self._grid, messages, deadline):
            yield clients[message.metadata.dst_node_id], reply

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
        federation = self._spec.federation
        num_required = max(federation.min_clients, compute_min_clients(federation.strategy))
        missing = [(failure.client, failure.reason) for failure in replies.failed]
        require_enough_clients(
            self._spec, len(replies.valid), num_required, missing, round_number=round_number
        )

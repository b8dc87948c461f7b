"""Aggregate the clients' results of a round with Flower's strategies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower

from blossomtune.config.federation import FederationSettings, PrivacySettings
from blossomtune.config.strategies import compute_min_clients
from blossomtune.errors import UserError
from blossomtune.federation.server.strategy_registry import (
    build_strategy,
    extract_moments,
    restore_strategy,
)
from blossomtune.named_tensors import StateDict
from blossomtune.privacy import clipping, noise_seed
from blossomtune.privacy.record_keys import CLIPPING_NORM_KEY, NORM_BIT_KEY


@dataclass(frozen=True)
class WeightedState:
    """Result of one client, or of an aggregation.

    Attributes:
        state: Trained tensors at the server's rank.
        weight: Aggregation weight. Weights need not sum to 1.
        was_clipped: Whether the client clipped its update, if clients clip adaptively.
    """

    state: StateDict
    weight: float
    was_clipped: bool | None = None


class ServerStrategy:
    """Strategy of the server, with a new Flower strategy in each round.

    Momentum and clipping norm are kept by tensor name. So a restarted server continues with the
    same bits, and in rolora each factor has its own momentum.

    Args:
        federation: The experiment's federation block.
        seed: The configuration's seed.
        state_dict: ``state_dict()`` of the strategy to continue from.

    Raises:
        UserError: If the privacy secret is not usable.
    """

    def __init__(
        self, federation: FederationSettings, seed: int, state_dict: StateDict | None = None
    ) -> None:
        self._federation, self._seed, self._state = federation, seed, dict(state_dict or {})
        self._secret = noise_seed.read_secret(federation.privacy) if federation.privacy else b""
        self._privacy_metrics: dict[str, float] | None = None

    def configure_train(self) -> dict[str, float]:
        """Return the config of a train message: the clipping norm, if clients clip."""
        privacy = self._federation.privacy
        if privacy is None or privacy.side == "server":
            return {}
        return {CLIPPING_NORM_KEY: self._get_clipping_norm(privacy)}

    def state_dict(self) -> StateDict:
        """Return the float64 tensors that the next round depends on, besides the adapter."""
        return dict(self._state)

    def get_privacy_metrics(self) -> dict[str, float] | None:
        """Return clipping norm and noise deviation of the last round; None without privacy."""
        return self._privacy_metrics

    def aggregate_train(
        self, round_number: int, current_state: StateDict, results: Sequence[WeightedState]
    ) -> StateDict:
        """Return the tensors after a round.

        All sums are in float64. So equal clients return unchanged, and Krum's distances, which
        Flower computes as differences of squares, are precise.

        Args:
            round_number: Number of the round, from 1.
            current_state: The server's tensors before the round.
            results: Results in the order of the clients.

        Returns:
            float32 tensors with the names of ``current_state``, sorted.

        Raises:
            UserError: If the strategy needs more results.
        """
        settings, names = self._federation.strategy, sorted(current_state)
        if len(results) < (needed := compute_min_clients(settings)):
            raise UserError(
                f"round {round_number} stops: {settings.name} with these parameters needs at least "
                f"{needed} results, and there are {len(results)}",
                "clients failed; let more take part (federation.fraction_train), so that some may",
            )
        strategy, start = build_strategy(settings), _to_array_record(current_state, names)
        restore_strategy(strategy, self._state, start)
        replies = [self._build_reply(result, names) for result in results]
        if privacy := self._federation.privacy:
            arrays = self._aggregate_with_privacy(privacy, round_number, strategy, start, replies)
        else:
            # FedAdam counts steps, and rolora trains each factor in every other round.
            is_alternating = self._federation.aggregation == "rolora"
            step = (round_number + 1) // 2 if is_alternating else round_number
            arrays, _ = strategy.aggregate_train(step, replies)
        if arrays is None:
            raise RuntimeError(f"Flower's {settings.name} returned no arrays")
        self._state |= extract_moments(strategy, names)
        state = arrays.to_torch_state_dict()
        return {name: state[name].float() for name in names}

    def _get_clipping_norm(self, privacy: PrivacySettings) -> float:
        norm = self._state.get(CLIPPING_NORM_KEY)
        return privacy.clipping_norm if norm is None else float(norm)

    def _build_reply(self, result: WeightedState, names: Sequence[str]) -> Message:
        # The noise is valid only for an average with equal weights.
        weight = 1.0 if self._federation.privacy else float(result.weight)
        metrics = MetricRecord({"num-examples": weight})
        if result.was_clipped is not None:
            metrics[NORM_BIT_KEY] = int(result.was_clipped)
        content = RecordDict({"arrays": _to_array_record(result.state, names), "metrics": metrics})
        return Message(content, dst_node_id=1, message_type=MessageType.TRAIN)

    def _aggregate_with_privacy(
        self,
        privacy: PrivacySettings,
        round_number: int,
        strategy: flower.FedAvg,
        start: ArrayRecord,
        replies: Sequence[Message],
    ) -> ArrayRecord | None:
        norm = self._get_clipping_norm(privacy)
        for reply in replies:
            arrays = reply.content.array_records["arrays"]
            reply.content["arrays"] = clipping.perturb_if_unchanged(arrays, start)
        parameters = privacy.model_dump_json(exclude={"secret"})
        purpose = f"noise {self._seed} {round_number} {norm!r} {parameters}".encode()
        wrapper = clipping.wrap_strategy(privacy, strategy, norm, len(replies), start)
        seed_material = [purpose, *_iter_seed_material(start, replies)]
        with noise_seed.seeded_numpy_rng(self._secret, seed_material):
            aggregated: ArrayRecord | None = wrapper.aggregate_train(round_number, replies)[0]
        deviation = clipping.compute_noise_stddev(wrapper.noise_multiplier, norm, len(replies))
        self._privacy_metrics = {"clipping_norm": norm, "noise_deviation": deviation}
        if privacy.clipping == "adaptive":
            self._state[CLIPPING_NORM_KEY] = torch.tensor(wrapper.next_norm, dtype=torch.float64)
        return aggregated


def _to_array_record(state: StateDict, names: Sequence[str]) -> ArrayRecord:
    """Return float64 arrays in this order, since Flower's wrappers match arrays by position."""
    return ArrayRecord({name: Array(state[name].double().numpy()) for name in names})


def _iter_seed_material(start: ArrayRecord, replies: Sequence[Message]) -> Iterator[bytes]:
    for record in (start, *(reply.content.array_records["arrays"] for reply in replies)):
        for name, array in record.items():
            yield name.encode()
            yield array.data
    metrics = (reply.content.metric_records["metrics"] for reply in replies)
    yield repr([record.get(NORM_BIT_KEY) for record in metrics]).encode()

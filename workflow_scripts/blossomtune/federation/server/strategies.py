"""What the server makes of the clients' results: Flower's strategies, a round at a time.

A Flower strategy lives for one round. What it carries over (momentum, clipping norm) is kept here
by the names of the tensors, so a restarted server goes on as if it had never stopped, and with
rolora each factor has a momentum of its own.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower

from blossomtune.config.federation import FederationSettings
from blossomtune.config.strategies import compute_min_clients
from blossomtune.errors import UserError
from blossomtune.federation.server.strategy_registry import build_strategy
from blossomtune.named_tensors import StateDict
from blossomtune.privacy import clipping, noise_seed
from blossomtune.privacy.record_keys import CLIPPING_NORM_KEY, NORM_BIT_KEY

_FEDOPT_STRATEGIES = (flower.FedAdagrad, flower.FedAdam, flower.FedYogi)


@dataclass(frozen=True)
class WeightedState:
    """What came back from a client, or out of an aggregation.

    Attributes:
        state: the trained tensors at the server's rank.
        weight: what it counts in an average; weights need not sum to 1.
        clipped: whether the client clipped it, where clients clip adaptively.
    """

    state: StateDict
    weight: float
    was_clipped: bool | None = None


class ServerStrategy:
    """From the clients' results to the next global adapter.

    Args:
        federation: the block.
        seed: the configuration's seed.
        saved: ``state()`` of the server that this one goes on from.

    Raises:
        UserError: where the privacy's secret is no good.
    """

    def __init__(
        self, federation: FederationSettings, seed: int, state_dict: StateDict | None = None
    ) -> None:
        logging.getLogger("flwr").setLevel(logging.ERROR)
        self._federation, self._seed, self._state = federation, seed, dict(state_dict or {})
        self._privacy = federation.privacy
        self._secret = noise_seed.read_secret(self._privacy) if self._privacy else b""
        self._privacy_metrics: dict[str, float] | None = None

    def configure_train(self) -> dict[str, float]:
        """What a train message must say besides: the clipping norm, where clients clip."""
        if self._privacy is None or self._privacy.side == "server":
            return {}
        return {CLIPPING_NORM_KEY: self._clipping_norm}

    def state_dict(self) -> StateDict:
        """What the next round depends on besides the adapter; float64."""
        return dict(self._state)

    def get_privacy_metrics(self) -> dict[str, float] | None:
        """The last round's clipping norm and the deviation of its noise; None without privacy."""
        return self._privacy_metrics

    def aggregate_train(
        self, round_number: int, current_state: StateDict, results: Sequence[WeightedState]
    ) -> StateDict:
        """The tensors after a round.

        All sums are in float64: equal clients come back unchanged, and Krum's distances, which
        Flower takes as differences of squares, keep their digits.

        Args:
            round_: 1, 2, …
            current: the same tensors as the server held them before.
            results: in the order of the clients.

        Returns:
            float32 tensors with the names of ``current``, sorted.

        Raises:
            UserError: with fewer results than the strategy has a meaning for.
        """
        block, names = self._federation.strategy, sorted(current_state)
        if len(results) < (needed := compute_min_clients(block)):
            raise UserError(
                f"round {round_number} stops: {block.name} with these parameters wants at least "
                f"{needed} results, and there are {len(results)}",
                "clients failed; let more take part (federation.fraction_train), so that some may",
            )
        strategy, start = build_strategy(block), _to_array_record(current_state, names)
        self._restore_state(strategy, names, start)
        replies = [self._build_reply(result, names) for result in results]
        # FedAdam counts the steps; with rolora a factor has one in every other round.
        turn = (round_number + 1) // 2 if self._federation.aggregation == "rolora" else round_number
        if self._privacy is None:
            arrays, _ = strategy.aggregate_train(turn, replies)
        else:
            arrays = self._aggregate_with_privacy(round_number, strategy, start, replies)
        self._save_state(strategy, names)
        found = arrays.to_torch_state_dict()
        return {name: found[name].float() for name in names}

    @property
    def _clipping_norm(self) -> float:
        kept = self._state.get(CLIPPING_NORM_KEY)
        return self._privacy.clipping_norm if kept is None else float(kept)

    def _build_reply(self, result: WeightedState, names: Sequence[str]) -> Message:
        # Noise is measured for an average in which nobody weighs more than the others.
        weight = 1.0 if self._privacy else float(result.weight)
        metrics = MetricRecord({"num-examples": weight})
        if result.was_clipped is not None:
            metrics[NORM_BIT_KEY] = int(result.was_clipped)
        content = RecordDict({"arrays": _to_array_record(result.state, names), "metrics": metrics})
        return Message(content, dst_node_id=1, message_type=MessageType.TRAIN)

    def _aggregate_with_privacy(
        self, round_number: int, strategy: flower.FedAvg, start: ArrayRecord, replies: list[Message]
    ) -> ArrayRecord:
        norm = self._clipping_norm
        for reply in replies:
            reply.content["arrays"] = clipping.perturb_if_unchanged(reply.content["arrays"], start)
        parameters = self._privacy.model_dump_json(exclude={"secret"})
        about = f"noise {self._seed} {round_number} {norm!r} {parameters}".encode()
        wrapper = clipping.wrap_strategy(self._privacy, strategy, norm, len(replies), start)
        with noise_seed.seeded_numpy_rng(
            self._secret, [about, *_iter_seed_material(start, replies)]
        ):
            arrays, _ = wrapper.aggregate_train(round_number, replies)
        deviation = clipping.compute_noise_stddev(wrapper.noise_multiplier, norm, len(replies))
        self._privacy_metrics = {"clipping_norm": norm, "noise_deviation": deviation}
        if self._privacy.clipping == "adaptive":
            self._state[CLIPPING_NORM_KEY] = torch.tensor(wrapper.next_norm, dtype=torch.float64)
        return arrays

    def _restore_state(
        self, strategy: flower.FedAvg, names: Sequence[str], start: ArrayRecord
    ) -> None:
        """Gives a new strategy what those before it kept of these names."""
        if isinstance(strategy, _FEDOPT_STRATEGIES):
            strategy.current_arrays = {name: array.numpy() for name, array in start.items()}
            for moment in ("m_t", "v_t"):
                if f"{moment}/{names[0]}" in self._state:
                    kept = {name: self._state[f"{moment}/{name}"].numpy() for name in names}
                    setattr(strategy, moment, kept)
        elif isinstance(strategy, flower.FedAvgM):
            strategy.current_arrays = start
            if f"momentum/{names[0]}" in self._state:
                kept = [self._state[f"momentum/{name}"].numpy() for name in names]
                strategy.momentum_vector = kept

    def _save_state(self, strategy: flower.FedAvg, names: Sequence[str]) -> None:
        moments = {}
        if isinstance(strategy, _FEDOPT_STRATEGIES):
            moments = {"m_t": strategy.m_t, "v_t": strategy.v_t}
        elif isinstance(strategy, flower.FedAvgM) and strategy.momentum_vector is not None:
            moments = {"momentum": dict(zip(names, strategy.momentum_vector, strict=True))}
        for moment, arrays in moments.items():
            for name in names:
                self._state[f"{moment}/{name}"] = torch.from_numpy(arrays[name].copy())


def _to_array_record(state: StateDict, names: Sequence[str]) -> ArrayRecord:
    """Tensors in this order; Flower's wrappers and momentum match them by their place."""
    return ArrayRecord({name: Array(state[name].double().numpy()) for name in names})


def _iter_seed_material(start: ArrayRecord, replies: Sequence[Message]) -> Iterator[bytes]:
    for record in (start, *(reply.content["arrays"] for reply in replies)):
        for name, array in record.items():
            yield name.encode()
            yield array.data
    yield repr([reply.content["metrics"].get(NORM_BIT_KEY) for reply in replies]).encode()

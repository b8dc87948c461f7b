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
from flwr.supercore.differential_privacy import KEY_CLIPPING_NORM, KEY_NORM_BIT, compute_stdv

from blossomtune.config.federation import Federation
from blossomtune.config.strategies import Strategy, fewest
from blossomtune.errors import UserError
from blossomtune.federation import privacy
from blossomtune.federation.adapter import State

_ADAGRAD = {"eta": "eta", "tau": "tau"}
_ADAM = {**_ADAGRAD, "beta_1": "beta_1", "beta_2": "beta_2"}
_KRUM = {"malicious": "num_malicious_nodes"}

REGISTRY: dict[str, tuple[type[flower.FedAvg], dict[str, str]]] = {
    "fedavg": (flower.FedAvg, {}),
    "fedprox": (flower.FedProx, {"mu": "proximal_mu"}),
    "fedavgm": (
        flower.FedAvgM,
        {"learning_rate": "server_learning_rate", "momentum": "server_momentum"},
    ),
    "fedadagrad": (flower.FedAdagrad, _ADAGRAD),
    "fedadam": (flower.FedAdam, _ADAM),
    "fedyogi": (flower.FedYogi, _ADAM),
    "fedmedian": (flower.FedMedian, {}),
    "fedtrimmedavg": (flower.FedTrimmedAvg, {"beta": "beta"}),
    "krum": (flower.Krum, _KRUM),
    "multikrum": (flower.MultiKrum, {**_KRUM, "selected": "num_nodes_to_select"}),
    "bulyan": (flower.Bulyan, _KRUM),
    "scaffold": (flower.FedAvg, {}),  # the rest of it is the clients'
}
"""Flower's class by our name, and its parameters by ours."""

_OPTIMIZERS = (flower.FedAdagrad, flower.FedAdam, flower.FedYogi)
_NORM = "clipping_norm"


@dataclass(frozen=True)
class Result:
    """What came back from a client, or out of an aggregation.

    Attributes:
        state: the trained tensors at the server's rank.
        weight: what it counts in an average; weights need not sum to 1.
        clipped: whether the client clipped it, where clients clip adaptively.
    """

    state: State
    weight: float
    clipped: bool | None = None


def build(block: Strategy) -> flower.FedAvg:
    """Flower's strategy of a block of the configuration."""
    kind, names = REGISTRY[block.name]
    return kind(**{theirs: getattr(block, ours) for ours, theirs in names.items()})


class ServerStrategy:
    """From the clients' results to the next global adapter.

    Args:
        federation: the block.
        seed: the configuration's seed.
        saved: ``state()`` of the server that this one goes on from.

    Raises:
        UserError: where the privacy's secret is no good.
    """

    def __init__(self, federation: Federation, seed: int, saved: State | None = None) -> None:
        logging.getLogger("flwr").setLevel(logging.ERROR)
        self._federation, self._seed, self._kept = federation, seed, dict(saved or {})
        self._privacy = federation.privacy
        self._secret = privacy.secret(self._privacy) if self._privacy else b""
        self._record: dict[str, float] | None = None

    def config(self) -> dict[str, float]:
        """What a train message must say besides: the clipping norm, where clients clip."""
        if self._privacy is None or self._privacy.side == "server":
            return {}
        return {KEY_CLIPPING_NORM: self._norm}

    def state(self) -> State:
        """What the next round depends on besides the adapter; float64."""
        return dict(self._kept)

    def record(self) -> dict[str, float] | None:
        """The last round's clipping norm and the deviation of its noise; None without privacy."""
        return self._record

    def step(self, round_: int, current: State, results: Sequence[Result]) -> State:
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
        block, names = self._federation.strategy, sorted(current)
        if len(results) < (needed := fewest(block)):
            raise UserError(
                f"round {round_} stops: {block.name} with these parameters wants at least "
                f"{needed} results, and there are {len(results)}",
                "clients failed; let more take part (federation.fraction_train), so that some may",
            )
        strategy, start = build(block), _arrays(current, names)
        self._remind(strategy, names, start)
        replies = [self._reply(result, names) for result in results]
        # FedAdam counts the steps; with rolora a factor has one in every other round.
        turn = (round_ + 1) // 2 if self._federation.aggregation == "rolora" else round_
        if self._privacy is None:
            arrays, _ = strategy.aggregate_train(turn, replies)
        else:
            arrays = self._privately(round_, strategy, start, replies)
        self._remember(strategy, names)
        found = arrays.to_torch_state_dict()
        return {name: found[name].float() for name in names}

    @property
    def _norm(self) -> float:
        kept = self._kept.get(_NORM)
        return self._privacy.clipping_norm if kept is None else float(kept)

    def _reply(self, result: Result, names: Sequence[str]) -> Message:
        # Noise is measured for an average in which nobody weighs more than the others.
        weight = 1.0 if self._privacy else float(result.weight)
        metrics = MetricRecord({"num-examples": weight})
        if result.clipped is not None:
            metrics[KEY_NORM_BIT] = int(result.clipped)
        content = RecordDict({"arrays": _arrays(result.state, names), "metrics": metrics})
        return Message(content, dst_node_id=1, message_type=MessageType.TRAIN)

    def _privately(
        self, round_: int, strategy: flower.FedAvg, start: ArrayRecord, replies: list[Message]
    ) -> ArrayRecord:
        norm = self._norm
        for reply in replies:
            reply.content["arrays"] = privacy.moved(reply.content["arrays"], start)
        parameters = self._privacy.model_dump_json(exclude={"secret"})
        about = f"noise {self._seed} {round_} {norm!r} {parameters}".encode()
        wrapper = privacy.wrap(self._privacy, strategy, norm, len(replies), start)
        with privacy.seeded(self._secret, [about, *_contents(start, replies)]):
            arrays, _ = wrapper.aggregate_train(round_, replies)
        deviation = compute_stdv(wrapper.noise_multiplier, norm, len(replies))
        self._record = {"clipping_norm": norm, "noise_deviation": deviation}
        if self._privacy.clipping == "adaptive":
            self._kept[_NORM] = torch.tensor(wrapper.next_norm, dtype=torch.float64)
        return arrays

    def _remind(self, strategy: flower.FedAvg, names: Sequence[str], start: ArrayRecord) -> None:
        """Gives a new strategy what those before it kept of these names."""
        if isinstance(strategy, _OPTIMIZERS):
            strategy.current_arrays = {name: array.numpy() for name, array in start.items()}
            for moment in ("m_t", "v_t"):
                if f"{moment}/{names[0]}" in self._kept:
                    kept = {name: self._kept[f"{moment}/{name}"].numpy() for name in names}
                    setattr(strategy, moment, kept)
        elif isinstance(strategy, flower.FedAvgM):
            strategy.current_arrays = start
            if f"momentum/{names[0]}" in self._kept:
                kept = [self._kept[f"momentum/{name}"].numpy() for name in names]
                strategy.momentum_vector = kept

    def _remember(self, strategy: flower.FedAvg, names: Sequence[str]) -> None:
        moments = {}
        if isinstance(strategy, _OPTIMIZERS):
            moments = {"m_t": strategy.m_t, "v_t": strategy.v_t}
        elif isinstance(strategy, flower.FedAvgM) and strategy.momentum_vector is not None:
            moments = {"momentum": dict(zip(names, strategy.momentum_vector, strict=True))}
        for moment, arrays in moments.items():
            for name in names:
                self._kept[f"{moment}/{name}"] = torch.from_numpy(arrays[name].copy())


def _arrays(state: State, names: Sequence[str]) -> ArrayRecord:
    """Tensors in this order; Flower's wrappers and momentum match them by their place."""
    return ArrayRecord({name: Array(state[name].double().numpy()) for name in names})


def _contents(start: ArrayRecord, replies: Sequence[Message]) -> Iterator[bytes]:
    for record in (start, *(reply.content["arrays"] for reply in replies)):
        for name, array in record.items():
            yield name.encode()
            yield array.data
    yield repr([reply.content["metrics"].get(KEY_NORM_BIT) for reply in replies]).encode()

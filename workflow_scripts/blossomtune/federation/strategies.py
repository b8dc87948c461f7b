"""Flower's strategies by the names that the configuration uses."""

from collections.abc import Sequence

from flwr.app import Message
from flwr.serverapp.strategy import FedAvg, Strategy

from blossomtune.config.experiments import Federation
from blossomtune.federation.adapter import State
from blossomtune.federation.client_app import ADAPTER


def build(federation: Federation) -> Strategy:
    """The strategy that a federation block names.

    ``fedavg`` weighs clients by the examples that they really trained on in the round
    (arXiv 1602.05629). Who takes part, and in which order results count, is not left to the
    strategy: see ``rounds``.
    """
    strategies = {"fedavg": FedAvg}
    return strategies[federation.strategy](weighted_by_key="num-examples", arrayrecord_key=ADAPTER)


def aggregate(strategy: Strategy, round_: int, replies: Sequence[Message]) -> State:
    """The new global adapter from checked replies in client order."""
    arrays, _ = strategy.aggregate_train(round_, replies)
    return arrays.to_torch_state_dict()

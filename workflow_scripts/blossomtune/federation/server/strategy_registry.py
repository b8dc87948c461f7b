"""Build Flower's strategies, and carry their state from one instance to the next."""

from collections.abc import Sequence

import torch
from flwr.app import ArrayRecord
from flwr.serverapp import strategy as flower

from blossomtune.config.strategies import StrategySettings
from blossomtune.named_tensors import StateDict

_ADAGRAD_PARAMETERS = {"eta": "eta", "tau": "tau"}
_ADAM_PARAMETERS = {**_ADAGRAD_PARAMETERS, "beta_1": "beta_1", "beta_2": "beta_2"}

FLOWER_STRATEGIES: dict[str, tuple[type[flower.FedAvg], dict[str, str]]] = {
    "fedavg": (flower.FedAvg, {}),
    "fedprox": (flower.FedProx, {"mu": "proximal_mu"}),
    "fedavgm": (
        flower.FedAvgM,
        {"learning_rate": "server_learning_rate", "momentum": "server_momentum"},
    ),
    "fedadagrad": (flower.FedAdagrad, _ADAGRAD_PARAMETERS),
    "fedadam": (flower.FedAdam, _ADAM_PARAMETERS),
    "fedyogi": (flower.FedYogi, _ADAM_PARAMETERS),
    "fedmedian": (flower.FedMedian, {}),
    "fedtrimmedavg": (flower.FedTrimmedAvg, {"beta": "beta"}),
    "krum": (flower.FedAvg, {}),  # of the clients that ``select_clients`` returns
    "multikrum": (flower.FedAvg, {}),
    "bulyan": (flower.Bulyan, {"malicious": "num_malicious_nodes"}),
    "scaffold": (flower.FedAvg, {}),  # the correction is the clients'
}
"""Flower's class and its parameters' names, by the names in the configuration."""

_FEDOPT_STRATEGIES = (flower.FedAdagrad, flower.FedAdam, flower.FedYogi)


MOMENTS = ("m_t", "v_t", "momentum")
"""Moments of the strategies that optimize on the server."""


def build_strategy(settings: StrategySettings, selected: Sequence[int] = ()) -> flower.FedAvg:
    """Build Flower's strategy for a block of the configuration.

    Args:
        settings: The block.
        selected: Positions of the clients that Krum has selected for Bulyan.

    Returns:
        A strategy without moments.
    """
    strategy_class, names = FLOWER_STRATEGIES[settings.name]
    parameters = {flower_name: getattr(settings, name) for name, flower_name in names.items()}
    strategy = strategy_class(**parameters)
    if isinstance(strategy, flower.Bulyan):
        strategy.selection_rule = lambda contents, *_: [contents[i] for i in selected]
    return strategy


def restore_strategy(strategy: flower.FedAvg, state: StateDict, start: ArrayRecord) -> None:
    """Load moments and current arrays into a new strategy that optimizes on the server.

    Args:
        strategy: The strategy.
        state: float64 tensors of ``extract_moments``; tensors without a moment start at zero.
        start: float64 arrays before the round.
    """
    names = list(start)
    if isinstance(strategy, _FEDOPT_STRATEGIES):
        strategy.current_arrays = {name: array.numpy() for name, array in start.items()}
        for key in ("m_t", "v_t"):
            if f"{key}/{names[0]}" in state:
                setattr(strategy, key, {name: state[f"{key}/{name}"].numpy() for name in names})
    elif isinstance(strategy, flower.FedAvgM):
        strategy.current_arrays = start
        if f"momentum/{names[0]}" in state:
            strategy.momentum_vector = [state[f"momentum/{name}"].numpy() for name in names]


def extract_moments(strategy: flower.FedAvg, names: Sequence[str]) -> StateDict:
    """Copy a strategy's moments after a round.

    Args:
        strategy: The strategy.
        names: Names of the aggregated tensors, in their order.

    Returns:
        float64 tensors named ``<moment>/<tensor>``; none for strategies without moments.
    """
    moments = {}
    if isinstance(strategy, _FEDOPT_STRATEGIES):
        moments = {"m_t": strategy.m_t or {}, "v_t": strategy.v_t or {}}
    elif isinstance(strategy, flower.FedAvgM) and strategy.momentum_vector is not None:
        moments = {"momentum": dict(zip(names, strategy.momentum_vector, strict=True))}
    return {
        f"{key}/{name}": torch.from_numpy(arrays[name].copy())
        for key, arrays in moments.items()
        for name in names
    }

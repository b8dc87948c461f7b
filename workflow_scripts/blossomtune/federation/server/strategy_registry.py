"""TODO docstring."""

from flwr.serverapp import strategy as flower

from blossomtune.config.strategies import StrategySettings

_ADAGRAD_PARAMETERS = {"eta": "eta", "tau": "tau"}


_ADAM_PARAMETERS = {**_ADAGRAD_PARAMETERS, "beta_1": "beta_1", "beta_2": "beta_2"}


_KRUM_PARAMETERS = {"malicious": "num_malicious_nodes"}


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
    "krum": (flower.Krum, _KRUM_PARAMETERS),
    "multikrum": (flower.MultiKrum, {**_KRUM_PARAMETERS, "selected": "num_nodes_to_select"}),
    "bulyan": (flower.Bulyan, _KRUM_PARAMETERS),
    "scaffold": (flower.FedAvg, {}),  # the rest of it is the clients'
}
"""Flower's class by our name, and its parameters by ours."""


def build_strategy(block: StrategySettings) -> flower.FedAvg:
    """Flower's strategy of a block of the configuration."""
    kind, names = FLOWER_STRATEGIES[block.name]
    return kind(**{theirs: getattr(block, ours) for ours, theirs in names.items()})

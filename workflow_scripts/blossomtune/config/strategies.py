"""Define the configuration of strategies, by Flower's names."""

import math
from typing import Annotated, Literal, get_args

from pydantic import Field

from blossomtune.config.base import (
    REJECT_BOOL,
    Block,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    allow_name_shorthand,
)

FractionBelowOne = Annotated[float, Field(ge=0, lt=1), REJECT_BOOL]


class FedAvgSettings(Block):
    """Average, weighted by `client_weights` (arXiv 1602.05629)."""

    name: Literal["fedavg"] = "fedavg"


class FedProxSettings(Block):
    """FedAvg; clients stay close to the round's start (arXiv 1812.06127)."""

    name: Literal["fedprox"]
    mu: PositiveFloat = Field(
        0.1,
        description="Clients add `mu / 2` times the squared distance from the round's start to "
        "their loss.",
    )


class FedAvgMSettings(Block):
    """A step of the server towards the average, with momentum (arXiv 1909.06335)."""

    name: Literal["fedavgm"]
    learning_rate: PositiveFloat = Field(1.0, description="Learning rate of the server.")
    momentum: FractionBelowOne = Field(0.9, description="Momentum of the server.")


class FedAdagradSettings(Block):
    """Adagrad on the server (arXiv 2003.00295)."""

    name: Literal["fedadagrad"]
    eta: PositiveFloat = Field(1e-2, description="Learning rate of the server.")
    tau: PositiveFloat = Field(1e-3, description="Degree of adaptivity; smaller is more adaptive.")


class FedAdamSettings(FedAdagradSettings):
    """Adam on the server (arXiv 2003.00295)."""

    name: Literal["fedadam"]  # type: ignore[assignment]  # the discriminator of the union
    beta_1: FractionBelowOne = Field(0.9, description="Decay of the first moment.")
    beta_2: FractionBelowOne = Field(0.99, description="Decay of the second moment.")


class FedYogiSettings(FedAdamSettings):
    """Yogi on the server (arXiv 2003.00295)."""

    name: Literal["fedyogi"]  # type: ignore[assignment]  # the discriminator of the union


class FedMedianSettings(Block):
    """Coordinate-wise median (arXiv 1803.01498). A round needs 3 clients."""

    name: Literal["fedmedian"]


class FedTrimmedAvgSettings(Block):
    """Coordinate-wise trimmed mean (arXiv 1803.01498). A round needs `1 / beta` clients."""

    name: Literal["fedtrimmedavg"]
    beta: Annotated[float, Field(ge=0, lt=0.5), REJECT_BOOL] = Field(
        0.2, description="Fraction of clients to leave out at each end."
    )


class KrumSettings(Block):
    """The client closest to its neighbors (arXiv 1703.02757).

    A round needs `2 malicious + 3` clients.
    """

    name: Literal["krum"]
    malicious: NonNegativeInt = Field(0, description="Number of clients that may be malicious.")


class MultiKrumSettings(KrumSettings):
    """Average of the clients closest to their neighbors (arXiv 1703.02757)."""

    name: Literal["multikrum"]  # type: ignore[assignment]  # the discriminator of the union
    selected: PositiveInt = Field(
        2, description="Number of clients to average. A round needs `selected + malicious` clients."
    )


class BulyanSettings(KrumSettings):
    """Krum's selection, then values closest to the median (arXiv 1802.07927).

    A round needs `4 malicious + 3` clients.
    """

    name: Literal["bulyan"]  # type: ignore[assignment]  # the discriminator of the union


class ScaffoldSettings(Block):
    """FedAvg with control variates on the clients (arXiv 1910.06378). The message size doubles."""

    name: Literal["scaffold"]


AnyStrategySettings = Annotated[
    FedAvgSettings
    | FedProxSettings
    | FedAvgMSettings
    | FedAdagradSettings
    | FedAdamSettings
    | FedYogiSettings
    | FedMedianSettings
    | FedTrimmedAvgSettings
    | KrumSettings
    | MultiKrumSettings
    | BulyanSettings
    | ScaffoldSettings,
    Field(discriminator="name"),
]

STRATEGY_SETTINGS = {
    get_args(block.model_fields["name"].annotation)[0]: block
    for block in get_args(get_args(AnyStrategySettings)[0])
}
"""Block of each strategy by its name."""


StrategySettings = Annotated[
    AnyStrategySettings, allow_name_shorthand(AnyStrategySettings, STRATEGY_SETTINGS)
]

SERVER_OPTIMIZERS = {"fedavgm", "fedadagrad", "fedadam", "fedyogi"}
ROBUST_STRATEGIES = {"fedmedian", "fedtrimmedavg", "krum", "multikrum", "bulyan"}
"""Strategies that select among the clients instead of averaging them all."""


def compute_min_clients(strategy: AnyStrategySettings) -> int:
    """Return the fewest clients per round that the strategy works with."""
    match strategy:
        case BulyanSettings():
            return 4 * strategy.malicious + 3
        case MultiKrumSettings():
            return max(2 * strategy.malicious + 3, strategy.selected + strategy.malicious)
        case KrumSettings():
            return 2 * strategy.malicious + 3
        case FedMedianSettings():
            return 3  # the median of two is their average
        case FedTrimmedAvgSettings() if strategy.beta:
            return math.ceil(1 / strategy.beta)  # with fewer, no client is left out
    return 1

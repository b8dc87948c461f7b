"""Blocks of strategies: what the server makes of the clients' answers, by Flower's names."""

import math
from typing import Annotated, Any, Literal, get_args

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
    """The average, weighted by ``client_weights`` (arXiv 1602.05629)."""

    name: Literal["fedavg"] = "fedavg"


class FedProxSettings(Block):
    """FedAvg; clients stay near what they started from (arXiv 1812.06127)."""

    name: Literal["fedprox"]
    mu: PositiveFloat = Field(0.1, description="Weight of half the squared distance in the loss.")


class FedAvgMSettings(Block):
    """The average, with momentum on the server (arXiv 1909.06335)."""

    name: Literal["fedavgm"]
    learning_rate: PositiveFloat = 1.0
    momentum: FractionBelowOne = 0.9


class FedAdagradSettings(Block):
    """Adagrad on the server (arXiv 2003.00295)."""

    name: Literal["fedadagrad"]
    eta: PositiveFloat = Field(1e-2, description="The server's learning rate.")
    tau: PositiveFloat = Field(1e-3, description="How adaptive: smaller is more.")


class FedAdamSettings(FedAdagradSettings):
    """Adam on the server (arXiv 2003.00295)."""

    name: Literal["fedadam"]
    beta_1: FractionBelowOne = 0.9
    beta_2: FractionBelowOne = 0.99


class FedYogiSettings(FedAdamSettings):
    """Yogi on the server (arXiv 2003.00295)."""

    name: Literal["fedyogi"]


class FedMedianSettings(Block):
    """The median of every number (arXiv 1803.01498)."""

    name: Literal["fedmedian"]


class FedTrimmedAvgSettings(Block):
    """The average of every number without its extremes (arXiv 1803.01498)."""

    name: Literal["fedtrimmedavg"]
    beta: Annotated[float, Field(ge=0, lt=0.5), REJECT_BOOL] = Field(
        0.2, description="Share of the clients to leave out at each end."
    )


class KrumSettings(Block):
    """The one client nearest to its neighbours (arXiv 1703.02757)."""

    name: Literal["krum"]
    malicious: NonNegativeInt = Field(0, description="Clients that may be malicious.")


class MultiKrumSettings(KrumSettings):
    """The average of the clients nearest to their neighbours (arXiv 1703.02757)."""

    name: Literal["multikrum"]
    selected: PositiveInt = Field(2, description="How many clients are averaged.")


class BulyanSettings(KrumSettings):
    """Krum's choice, then of every number the values nearest the median (arXiv 1802.07927)."""

    name: Literal["bulyan"]


class ScaffoldSettings(Block):
    """FedAvg; clients correct their steps by what the others would do (arXiv 1910.06378)."""

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
"""Every strategy's block by its name."""


StrategySettings = Annotated[
    AnyStrategySettings, allow_name_shorthand(AnyStrategySettings, STRATEGY_SETTINGS)
]

SERVER_OPTIMIZERS = {"fedavgm", "fedadagrad", "fedadam", "fedyogi"}
ROBUST_STRATEGIES = {"fedmedian", "fedtrimmedavg", "krum", "multikrum", "bulyan"}
"""These choose among the clients instead of averaging them all."""


def compute_min_clients(strategy: Any) -> int:
    """The fewest clients in a round for which the strategy means anything."""
    if strategy.name in ("krum", "multikrum"):
        selected = getattr(strategy, "selected", 1)  # there must be so many besides the malicious
        return max(2 * strategy.malicious + 3, selected + strategy.malicious)
    if strategy.name == "bulyan":
        return 4 * strategy.malicious + 3
    if strategy.name == "fedmedian":
        return 3  # the median of two is their average
    if strategy.name == "fedtrimmedavg" and strategy.beta:
        return math.ceil(1 / strategy.beta)  # with fewer, no one is left out
    return 1

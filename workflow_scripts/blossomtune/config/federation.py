"""The block of how clients and server work together."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from blossomtune.config.base import (
    REJECT_BOOL,
    Block,
    NonEmptyStr,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    with_error_message,
)
from blossomtune.config.engines import Engine, SimulationEngine, starts_containers
from blossomtune.config.strategies import FedAvgSettings, StrategySettings

AggregationMethod = Literal["fedavg", "flexlora", "flora", "fedex", "ffa", "rolora", "hetlora"]
GpuShare = Annotated[
    Literal["auto"] | Annotated[float, Field(ge=0, le=1), REJECT_BOOL],
    with_error_message("auto, or a number from 0 to 1: a client trains on one GPU"),
]


def count_clients_per_gpu(gpu_share: float) -> int:
    """How many clients fit on a GPU that each may have this share of."""
    return int(1 / gpu_share + 1e-9)


def compute_sample_size(fraction: float, num_clients: int) -> int:
    """How many of so many clients a fraction is; at least one."""
    return max(1, round(fraction * num_clients))


class CommunicationSettings(Block):
    """How adapters travel."""

    precision: Literal["float32", "bfloat16", "int8"] = Field(
        "float32", description="int8 has a scale a channel, and what it rounds off is sent later."
    )
    budget_mb: PositiveFloat | None = Field(
        None, description="Megabytes (10^6 bytes) that no round may go beyond, up and down."
    )


class EarlyStoppingSettings(Block):
    """When to stop before the last round."""

    patience: PositiveInt = Field(3, description="Evaluations without an improvement.")
    min_delta: NonNegativeFloat = Field(
        0.0, description="What counts as an improvement, in nats a token."
    )


class PrivacySettings(Block):
    """Differential privacy of clients (arXiv 1710.06963), by Flower's wrappers and mods."""

    clipping: Literal["fixed", "adaptive"] = Field(
        "fixed", description="adaptive finds the norm itself (arXiv 1905.03871)."
    )
    side: Literal["server", "client"] = Field("server", description="Who clips the updates.")
    noise_multiplier: PositiveFloat = Field(
        1.0, description="Deviation of the noise, as a multiple of the clipping norm."
    )
    clipping_norm: PositiveFloat = Field(
        0.1, description="Of a client's update; with adaptive, at first."
    )
    target_quantile: PositiveFraction = Field(
        0.5, description="adaptive: share of updates left unclipped."
    )
    clipping_rate: PositiveFloat = Field(0.2, description="adaptive: learning rate of the norm.")
    delta: Annotated[float, Field(gt=0, lt=1), REJECT_BOOL] = Field(
        1e-5, description="Chance with which the guarantee may fail."
    )
    secret: NonEmptyStr | None = Field(
        None, description="File of at least 16 bytes that only the server has; the noise's seed."
    )


class FederationSettings(Block):
    """How clients and server work together."""

    engine: Engine = Field(
        SimulationEngine(), description="Where SuperLink and SuperNodes run; a name, or a block."
    )
    tls: bool = Field(
        True, description="Whether SuperLink and SuperNodes encrypt and authenticate themselves."
    )
    strategy: StrategySettings = Field(
        FedAvgSettings(), description="A name, or a block of name and parameters."
    )
    aggregation: AggregationMethod = Field(
        "fedavg", description="How low-rank factors become one adapter."
    )
    client_weights: Literal["trained", "held"] = Field(
        "trained",
        description="By which rows a client counts: trained on in the round, or all that it holds.",
    )
    rounds: PositiveInt = 3
    fraction_train: PositiveFraction = Field(
        1.0, description="Share of the clients that train in a round."
    )
    fraction_evaluate: Annotated[float, Field(ge=0, le=1), REJECT_BOOL] = Field(
        0.0, description="Share of the clients that score the adapter on rows they held out."
    )
    min_clients: PositiveInt = Field(
        1, description="Fewest clients whose results make a round; with fewer the run stops."
    )
    round_timeout: PositiveFloat = Field(
        3600, description="Seconds after which a round goes on without those that are missing."
    )
    threads_per_client: PositiveInt = Field(
        1, description="CPU threads a client; more clients than fit take turns."
    )
    gpus_per_client: GpuShare = Field(
        0.0, description="Share of a GPU; 0.5 puts two clients on one, and auto measures it."
    )
    evaluate_rows: NonNegativeInt = Field(
        64, description="Held-out rows that the server scores before round 1 and while training."
    )
    evaluate_every: PositiveInt = Field(
        1, description="Rounds from one evaluation of the server's to the next."
    )
    early_stopping: EarlyStoppingSettings | None = None
    result: Literal["last", "best"] = Field(
        "last", description="Which round's adapter is the result."
    )
    keep_checkpoints: Annotated[int, Field(ge=2), REJECT_BOOL] = Field(
        2, description="Last rounds that stay; the best one stays too."
    )
    communication: CommunicationSettings = CommunicationSettings()
    privacy: PrivacySettings | None = None

    def count_sampled_clients(self, num_clients: int) -> int:
        """How many of so many clients train in a round."""
        return compute_sample_size(self.fraction_train, num_clients)

    def count_gpus(self, num_clients: int) -> int:
        """GPUs to ask for: for all clients at once, but for one where they take turns.

        Where the share is yet to be measured, it is one.
        """
        if not self.gpus_per_client:
            return 0
        if self.gpus_per_client == "auto" or isinstance(self.engine, SimulationEngine):
            return 1
        return math.ceil(num_clients / count_clients_per_gpu(self.gpus_per_client))

    @property
    def selects_model(self) -> bool:
        """Whether an evaluation while training decides which adapter comes out."""
        return self.early_stopping is not None or self.result == "best"

    @property
    def selects_model_on_server(self) -> bool:
        """Whether that evaluation is the server's; where clients evaluate, it is theirs."""
        return self.selects_model and not self.fraction_evaluate

    @model_validator(mode="after")
    def _require_tls_across_hosts(self) -> "FederationSettings":
        if not self.tls and (starts_containers(self.engine) or self.engine.name == "external"):
            raise ValueError(
                f"tls: false is for this machine alone; what engine {self.engine.name} sends is "
                "always encrypted"
            )
        return self

    @model_validator(mode="after")
    def _require_evaluation_for_selection(self) -> "FederationSettings":
        if self.selects_model and not self.fraction_evaluate and not self.evaluate_rows:
            raise ValueError(
                "early_stopping and result: best need something to look at: fraction_evaluate "
                "above 0, or evaluate_rows above 0"
            )
        return self

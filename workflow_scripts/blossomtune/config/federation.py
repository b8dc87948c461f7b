"""Define the configuration of a federation."""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

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
from blossomtune.config.engines import (
    Engine,
    FlowerEngine,
    SimulationEngine,
    is_loopback,
    starts_containers,
    trains_elsewhere,
)
from blossomtune.config.strategies import FedAvgSettings, StrategySettings

AggregationMethod = Literal["fedavg", "flexlora", "flora", "fedex", "ffa", "rolora", "hetlora"]


def _require_whole_gpus(share: float) -> float:
    if share > 1 and not share.is_integer():
        raise ValueError("a client with more than one GPU has whole ones")
    return share


_Gpus = Annotated[float, Field(ge=0), REJECT_BOOL, AfterValidator(_require_whole_gpus)]
GpuShare = Annotated[
    Literal["auto"] | _Gpus,
    with_error_message("auto, a share of a GPU from 0 to 1, or a number of whole GPUs"),
]


def count_clients_per_gpu(gpu_share: float) -> int:
    """Return how many clients with this share fit on one GPU."""
    return int(1 / gpu_share + 1e-9)


def compute_sample_size(fraction: float, num_clients: int) -> int:
    """Return the number of sampled clients, at least one.

    Args:
        fraction: Share of the clients, in [0, 1].
        num_clients: Number of clients.

    Returns:
        The rounded share.
    """
    return max(1, round(fraction * num_clients))


class CommunicationSettings(Block):
    """Messages between server and clients."""

    precision: Literal["float32", "bfloat16", "int8"] = Field(
        "float32",
        description="Number format of adapters in messages: 4, 2 or 1 bytes per number. `int8` "
        "has one scale per channel. Rounding errors are added to the next message (arXiv "
        "1901.09847).",
    )
    budget_mb: PositiveFloat | None = Field(
        None,
        description="Limit in MB (10⁶ bytes) for all rounds and clients, in both directions. "
        "The run ends before a round that would exceed it.",
    )


class EarlyStoppingSettings(Block):
    """Stop before the last round. `early_stopping: {}` takes the defaults."""

    patience: PositiveInt = Field(
        3, description="Stop after this many evaluations without improvement."
    )
    min_delta: NonNegativeFloat = Field(
        0.0,
        description="Smallest decrease of the loss that counts as an improvement, in nats per "
        "token.",
    )


class PrivacySettings(Block):
    """Differential privacy of clients (arXiv 1710.06963).

    `privacy: {}` takes the defaults. See [Privacy](privacy.md).
    """

    clipping: Literal["fixed", "adaptive"] = Field(
        "fixed", description="`adaptive` finds the norm itself (arXiv 1905.03871)."
    )
    side: Literal["server", "client"] = Field(
        "server",
        description="Who clips: the server on arrival, or the client before sending. The "
        "server adds the noise.",
    )
    noise_multiplier: PositiveFloat = Field(
        1.0,
        description="Standard deviation of the noise, as a multiple of the norm. More noise "
        "gives a smaller epsilon.",
    )
    clipping_norm: PositiveFloat = Field(
        0.1,
        description="Norm to which a client's update is clipped; with `adaptive`, the initial "
        "norm.",
    )
    target_quantile: PositiveFraction = Field(
        0.5, description="With `adaptive`: fraction of updates that are not clipped."
    )
    clipping_rate: PositiveFloat = Field(
        0.2, description="With `adaptive`: learning rate of the norm."
    )
    delta: Annotated[float, Field(gt=0, lt=1), REJECT_BOOL] = Field(
        1e-5,
        description="Probability with which epsilon may not hold. It should be well below one "
        "divided by the number of clients.",
    )
    secret: NonEmptyStr | None = Field(
        None,
        description="File of at least 16 bytes that only the server has. The noise derives "
        "from it.",
    )


class FederationSettings(Block):
    """Rounds of training on the clients and aggregation on the server."""

    engine: Engine = Field(
        SimulationEngine(),
        description="Where SuperLink and SuperNodes run; see [Engines](deployment/engines.md). "
        "The adapter is the same for every engine.",
    )
    tls: bool = Field(
        True,
        description="SuperLink and SuperNodes encrypt messages and authenticate. `false` is "
        "allowed with engine `process`, and with engine `flower` on a loopback address.",
    )
    strategy: StrategySettings = Field(
        FedAvgSettings(),
        description="How the server aggregates, and what clients do besides training; see "
        "[strategies](federation-methods.md#strategies).",
    )
    aggregation: AggregationMethod = Field(
        "fedavg",
        description="How low-rank factors become one adapter; see "
        "[aggregations](federation-methods.md#aggregations).",
    )
    client_weights: Literal["trained", "held"] = Field(
        "trained",
        description="Aggregation weight of a client: rows trained on in the round, or rows "
        "held. With clients of different sizes and equal `max_steps`, `held` is the average of "
        "FedAvg's paper.",
    )
    rounds: PositiveInt = Field(
        3,
        description="Number of rounds. More rounds [continue a finished "
        "run](reproducibility.md#keys-that-keep-finished-rounds) if the learning rate is "
        "constant.",
    )
    fraction_train: PositiveFraction = Field(
        1.0,
        description="Fraction of clients that train in a round, at least one. Sampled anew in "
        "each round.",
    )
    fraction_evaluate: Annotated[float, Field(ge=0, le=1), REJECT_BOOL] = Field(
        0.0,
        description="Fraction of clients that score the new adapter on their validation rows "
        "after each round. Sampled anew in each round, unless their losses decide about "
        "`early_stopping` or `result`.",
    )
    min_clients: PositiveInt = Field(
        1,
        description="Minimum number of successful clients per round; not more than train in "
        "one. With fewer the run stops and names the missing clients.",
    )
    min_available_clients: PositiveInt | None = Field(
        None,
        description="Clients that must be connected before the run starts; all by default. "
        "Others join between rounds, and clients may leave and come back. Each round samples "
        "those that are connected.",
    )
    max_update_norm: PositiveFloat | None = Field(
        20.0,
        description="Largest change of the adapter that the server accepts from a client: its L2 "
        "norm, as a multiple of `learning_rate_max` × steps × √numbers. AdamW stays below 4, and "
        "RMSprop below 10. A client beyond it counts as failed; `null` allows any change.",
    )
    round_timeout: PositiveFloat = Field(
        3600,
        description="Seconds after which a round continues without the missing clients. It "
        "also limits the wait for clients at the start.",
    )
    quarantine: NonNegativeInt = Field(
        3,
        description="Failures in a row after which a client is not asked again, so that it does "
        "not cost each round its timeout; 0 for never. A client that is not connected does not "
        "count as failing. A restarted run asks all clients.",
    )
    threads_per_client: PositiveInt = Field(
        1, description="CPU threads per client. As many clients train at once as there are cores."
    )
    gpus_per_client: GpuShare = Field(
        0.0,
        description="Share of a GPU per client, or `auto`; above 1, the number of GPUs that the "
        "base is spread over. See [GPUs](deployment/engines.md#gpus). Without a GPU the CPU is "
        "used.",
    )
    evaluate_rows: NonNegativeInt = Field(
        64,
        description="Held-out test rows that the server scores before round 1 and during "
        "training. If they decide about the result, the final evaluation leaves them out.",
    )
    evaluate_every: PositiveInt = Field(
        1,
        description="Rounds between evaluations of the server. The last round always has one. "
        "Clients evaluate in every round.",
    )
    early_stopping: EarlyStoppingSettings | None = Field(
        None, description="Stop before the last round."
    )
    result: Literal["last", "best"] = Field(
        "last",
        description="Round whose adapter is the result. `best` has the smallest evaluated "
        "loss: the clients' if `fraction_evaluate` is above 0, else the server's.",
    )
    keep_checkpoints: Annotated[int, Field(ge=2), REJECT_BOOL] = Field(
        2, description="Number of last rounds to keep on disk. The best round stays too."
    )
    communication: CommunicationSettings = Field(
        CommunicationSettings(), description="Format and limit of messages."
    )
    privacy: PrivacySettings | None = Field(None, description="Differential privacy.")

    def count_sampled_clients(self, num_clients: int) -> int:
        """Return the number of clients that train in a round."""
        return compute_sample_size(self.fraction_train, num_clients)

    @property
    def max_gpus_per_client(self) -> int:
        """Return the number of GPUs that a client uses, wholly or in part."""
        if self.gpus_per_client == "auto":
            return 1
        return math.ceil(self.gpus_per_client)

    def count_threads(self, num_clients: int) -> int:
        """Return the number of cores to request, enough for all clients at once.

        If others run the clients, it is that of one client, for the server's evaluation.
        """
        num_here = 1 if trains_elsewhere(self.engine) else num_clients
        return num_here * self.threads_per_client

    def count_gpus(self, num_clients: int) -> int:
        """Return the number of GPUs to request, enough for all clients at once.

        In a simulation it is that of one client, since they take turns, and if others run the
        clients, for the server's evaluation; it is 1 for ``auto``.
        """
        share = self.gpus_per_client
        takes_turns = isinstance(self.engine, SimulationEngine) or trains_elsewhere(self.engine)
        if share == "auto" or not share or takes_turns:
            return self.max_gpus_per_client
        if share > 1:
            return num_clients * int(share)
        return math.ceil(num_clients / count_clients_per_gpu(share))

    @property
    def selects_model(self) -> bool:
        """Return whether evaluations between rounds decide which adapter is the result."""
        return self.early_stopping is not None or self.result == "best"

    @property
    def selects_model_on_server(self) -> bool:
        """Return whether the server evaluates for that, not the clients."""
        return self.selects_model and not self.fraction_evaluate

    @model_validator(mode="after")
    def _require_tls_across_hosts(self) -> "FederationSettings":
        if not self.tls and (starts_containers(self.engine) or self.engine.name == "external"):
            raise ValueError(
                f"tls: false is for this machine alone; what engine {self.engine.name} sends is "
                "always encrypted"
            )
        if (
            not self.tls
            and isinstance(self.engine, FlowerEngine)
            and self.engine.address
            and (self.engine.root_certificates or not is_loopback(self.engine.address))
        ):
            raise ValueError(
                f"tls: false is for a SuperLink of this machine without a certificate, and the "
                f"address is {self.engine.address}; remove it, or use an address such as "
                "127.0.0.1:8000 without root_certificates"
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

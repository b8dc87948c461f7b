"""history.json of a federation."""

from typing import Literal

from pydantic import Field, model_validator

from blossomtune.artifacts.base import Artifact, Part
from blossomtune.artifacts.round_record import ClientFailure, RoundRecord


class PrivacyGuarantee(Part):
    """Differential privacy of the final adapter.

    Attributes:
        epsilon: upper bound, for all rounds together.
        delta: probability that the bound does not hold.
        noise_multiplier: standard deviation of the noise relative to the clipping norm.
        clipping: whether the clipping norm is fixed or adaptive.
        side: where updates are clipped.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    clipping: Literal["fixed", "adaptive"]
    side: Literal["server", "client"]


class History(Artifact):
    """Settings, rounds and result of a federation.

    Attributes:
        clients: names, in order.
        ranks: rank of each client's adapter.
        device: type of the device that trained: ``cpu``, ``cuda``, ``xpu`` or ``mps``.
        base_dtype: data type of the frozen base in training.
        strategy: name of the server's strategy.
        aggregation: name of the aggregation method.
        precision: data type of the tensors in messages.
        stop_reason: why the run ended before its last round, if it did.
        best_round: round with the smallest monitored loss, if any loss was measured.
        result_round: round whose adapter is the result.
        privacy: the guarantee, if differential privacy is on.
        rounds: round 0 and all trained rounds.
    """

    clients: list[str]
    ranks: list[int]
    device: str
    base_dtype: str
    strategy: str
    aggregation: str
    precision: str
    stop_reason: str | None
    best_round: int | None
    result_round: int
    privacy: PrivacyGuarantee | None
    rounds: list[RoundRecord] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_one_rank_per_client(self) -> "History":
        if len(self.ranks) != len(self.clients):
            raise ValueError(f"{len(self.ranks)} ranks for {len(self.clients)} clients")
        return self

    @property
    def trained_rounds(self) -> list[RoundRecord]:
        """All rounds but round 0."""
        return [record for record in self.rounds if record.round > 0]

    @property
    def bytes_moved(self) -> int:
        """Bytes of all messages, both ways."""
        return sum(record.bytes_moved for record in self.rounds)

    @property
    def federated_losses(self) -> list[tuple[int, float]]:
        """Round and loss of the evaluations by clients."""
        losses = [(r.round, r.client_evaluation.loss) for r in self.rounds if r.client_evaluation]
        return [(number, loss) for number, loss in losses if loss is not None]

    @property
    def total_seconds(self) -> float:
        """Wall time of all rounds."""
        return sum(record.seconds for record in self.rounds)

    @property
    def failures(self) -> list[tuple[int, ClientFailure]]:
        """Round and failure, in order, of training and evaluation."""
        return [
            (record.round, failure)
            for record in self.rounds
            for failure in [
                *record.failed,
                *(record.client_evaluation.failed if record.client_evaluation else []),
            ]
        ]

    @property
    def has_mixed_ranks(self) -> bool:
        """True if clients have different ranks."""
        return len(set(self.ranks)) > 1

    def bytes_by_client(self) -> dict[int, tuple[int, int]]:
        """Return each client's bytes down and up, of all rounds and messages."""
        totals = dict.fromkeys(range(len(self.clients)), (0, 0))
        for record in self.rounds:
            evaluation = record.client_evaluation
            evaluated = [*evaluation.clients, *evaluation.failed] if evaluation else []
            for traffic in [*record.clients, *record.failed, *evaluated]:
                down, up = totals.get(traffic.client, (0, 0))
                totals[traffic.client] = down + traffic.bytes_down, up + traffic.bytes_up
        return totals

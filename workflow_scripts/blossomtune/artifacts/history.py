"""history.json: what server and clients did, round by round."""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from blossomtune.artifacts.round_record import ClientFailure, RoundRecord


class PrivacyGuarantee(BaseModel):
    """The guarantee in the end."""

    epsilon: float
    delta: float
    noise_multiplier: float
    clipping: Literal["fixed", "adaptive"]
    side: Literal["server", "client"]


class History(BaseModel):
    """history.json."""

    clients: list[str]
    ranks: list[int]
    device: str
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
        """The rounds in which clients trained: all but round 0."""
        return [record for record in self.rounds if record.round > 0]

    @property
    def bytes_moved(self) -> int:
        """Of all messages, down and up."""
        return sum(record.bytes_down + record.bytes_up for record in self.rounds)

    @property
    def federated_losses(self) -> list[tuple[int, float]]:
        """(round, loss) on rows that clients hold out, where any gave one."""
        found = [(r.round, r.client_evaluation.loss) for r in self.rounds if r.client_evaluation]
        return [(number, loss) for number, loss in found if loss is not None]

    @property
    def total_seconds(self) -> float:
        """Of all rounds."""
        return sum(record.seconds for record in self.rounds)

    @property
    def failures(self) -> list[tuple[int, ClientFailure]]:
        """(round, failure) in order, also of scoring."""
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
        """Whether clients have different ranks."""
        return len(set(self.ranks)) > 1

    def bytes_by_client(self) -> dict[int, tuple[int, int]]:
        """Bytes down and up by client, of all rounds and kinds of messages."""
        found = dict.fromkeys(range(len(self.clients)), (0, 0))
        for record in self.rounds:
            own = record.client_evaluation
            scored = [*own.clients, *own.failed] if own else []
            for one in [*record.clients, *record.failed, *scored]:
                down, up = found.get(one.client, (0, 0))
                found[one.client] = down + one.bytes_down, up + one.bytes_up
        return found

"""history.json: what server and clients did, round by round."""

from typing import Literal

from pydantic import BaseModel, Field, model_validator


class Score(BaseModel):
    """What the server measured after a round."""

    loss: float
    rows: int


class Moved(BaseModel):
    """A client, and the bytes of its messages."""

    client: int
    name: str
    bytes_down: int = 0
    bytes_up: int = 0


class OwnScore(Moved):
    """What a client measured after a round, on rows that it holds out."""

    rows: int
    loss: float


class Failure(Moved):
    """A client that gave nothing in a round, and why."""

    reason: str


class ClientScores(BaseModel):
    """What clients measured after a round; the mean is weighted by rows, None without any."""

    loss: float | None
    clients: list[OwnScore]
    failed: list[Failure] = []


class Contribution(Moved):
    """What one client did in a round."""

    rank: int
    examples: int
    tokens: int
    steps: int
    batch_size: int
    train_loss: float
    gpu_memory_mb: int | None = None


class LayerDrift(BaseModel):
    """How far adapters are from ΔW*, the mean of the clients' updates of a layer.

    Attributes:
        norm: ‖ΔW*‖, Frobenius'.
        average: distance of the averaged factors, as a share of it; None where ranks differ.
        best: distance of the best adapter of the server's rank.
    """

    norm: float
    average: float | None
    best: float


class Cost(BaseModel):
    """What the rounds so far cost in privacy, and the norm that updates were clipped to."""

    epsilon: float
    delta: float
    clipping_norm: float | None = None


class Privacy(BaseModel):
    """The guarantee in the end."""

    epsilon: float
    delta: float
    noise_multiplier: float
    clipping: Literal["fixed", "adaptive"]
    side: Literal["server", "client"]


class Gpu(BaseModel):
    """A GPU in a round: the mean share of time that it was busy, in %, and its memory in MB."""

    name: str
    utilisation: int
    memory_mb: int
    memory_total_mb: int


class Round(BaseModel):
    """One record of history.json; round 0 is the state before any training."""

    round: int
    learning_rate: float | None
    train_loss: float | None
    evaluation: Score | None
    client_evaluation: ClientScores | None
    clients: list[Contribution]
    failed: list[Failure]
    bytes_down: int
    bytes_up: int
    seconds: float
    drift: dict[str, LayerDrift] | None
    privacy: Cost | None
    gpus: list[Gpu] = []


class History(BaseModel):
    """history.json."""

    clients: list[str]
    ranks: list[int]
    device: str
    strategy: str
    aggregation: str
    precision: str
    stopped: str | None
    best_round: int | None
    result_round: int
    privacy: Privacy | None
    rounds: list[Round] = Field(min_length=1)

    @model_validator(mode="after")
    def _a_rank_each(self) -> "History":
        if len(self.ranks) != len(self.clients):
            raise ValueError(f"{len(self.ranks)} ranks for {len(self.clients)} clients")
        return self

    @property
    def trained(self) -> list[Round]:
        """The rounds in which clients trained: all but round 0."""
        return [record for record in self.rounds if record.round > 0]

    @property
    def bytes_moved(self) -> int:
        """Of all messages, down and up."""
        return sum(record.bytes_down + record.bytes_up for record in self.rounds)

    @property
    def own_losses(self) -> list[tuple[int, float]]:
        """(round, loss) on rows that clients hold out, where any gave one."""
        found = [(r.round, r.client_evaluation.loss) for r in self.rounds if r.client_evaluation]
        return [(number, loss) for number, loss in found if loss is not None]

    @property
    def seconds(self) -> float:
        """Of all rounds."""
        return sum(record.seconds for record in self.rounds)

    @property
    def failures(self) -> list[tuple[int, Failure]]:
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
    def mixed(self) -> bool:
        """Whether clients have different ranks."""
        return len(set(self.ranks)) > 1

    def by_client(self) -> dict[int, tuple[int, int]]:
        """Bytes down and up by client, of all rounds and kinds of messages."""
        found = dict.fromkeys(range(len(self.clients)), (0, 0))
        for record in self.rounds:
            own = record.client_evaluation
            scored = [*own.clients, *own.failed] if own else []
            for one in [*record.clients, *record.failed, *scored]:
                down, up = found.get(one.client, (0, 0))
                found[one.client] = down + one.bytes_down, up + one.bytes_up
        return found

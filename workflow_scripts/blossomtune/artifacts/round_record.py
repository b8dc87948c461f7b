"""TODO docstring."""

from pydantic import BaseModel


class ServerEvaluation(BaseModel):
    """What the server measured after a round."""

    loss: float
    rows: int


class ClientTraffic(BaseModel):
    """A client, and the bytes of its messages."""

    client: int
    name: str
    bytes_down: int = 0
    bytes_up: int = 0


class ClientEvaluation(ClientTraffic):
    """What a client measured after a round, on rows that it holds out."""

    rows: int
    loss: float


class ClientFailure(ClientTraffic):
    """A client that gave nothing in a round, and why."""

    reason: str


class FederatedEvaluation(BaseModel):
    """What clients measured after a round; the mean is weighted by rows, None without any."""

    loss: float | None
    clients: list[ClientEvaluation]
    failed: list[ClientFailure] = []


class ClientTrainRecord(ClientTraffic):
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


class PrivacySpent(BaseModel):
    """What the rounds so far cost in privacy, and the norm that updates were clipped to."""

    epsilon: float
    delta: float
    clipping_norm: float | None = None


class GpuUsage(BaseModel):
    """A GPU in a round: the mean share of time that it was busy, in %, and its memory in MB."""

    name: str
    utilization: int
    memory_mb: int
    memory_total_mb: int


class RoundRecord(BaseModel):
    """One record of history.json; round 0 is the state before any training."""

    round: int
    learning_rate: float | None
    train_loss: float | None
    evaluation: ServerEvaluation | None
    client_evaluation: FederatedEvaluation | None
    clients: list[ClientTrainRecord]
    failed: list[ClientFailure]
    bytes_down: int
    bytes_up: int
    seconds: float
    drift: dict[str, LayerDrift] | None
    privacy: PrivacySpent | None
    gpus: list[GpuUsage] = []

"""Records of rounds in history.json."""

from pydantic import Field

from blossomtune.artifacts.base import Part
from blossomtune.text_cleaning import MAX_LINE_CHARACTERS


class ServerEvaluation(Part):
    """Evaluation of the global adapter by the server, after a round.

    Attributes:
        loss: mean loss in nats per completion token.
        perplexity: exponential of the loss.
        rows: number of test rows.
    """

    loss: float
    perplexity: float
    rows: int


class ClientTraffic(Part):
    """A client and the size of its messages.

    Attributes:
        client: index of the client.
        name: its name.
        bytes_down: bytes from the server to the client.
        bytes_up: bytes from the client to the server.
    """

    client: int
    name: str
    bytes_down: int
    bytes_up: int


class ClientEvaluation(ClientTraffic):
    """Evaluation of the global adapter by a client, on its validation rows.

    Attributes:
        rows: number of rows.
        loss: mean loss in nats per completion token.
    """

    rows: int
    loss: float


class ClientFailure(ClientTraffic):
    """A sampled client without a usable reply.

    Attributes:
        reason: why the client has no usable reply, in at most 500 characters.
    """

    reason: str = Field(max_length=MAX_LINE_CHARACTERS)


class FederatedEvaluation(Part):
    """Evaluation of the global adapter by clients, after a round.

    Attributes:
        loss: mean weighted by rows; None without any reply.
        clients: usable replies.
        failed: clients without a usable reply.
    """

    loss: float | None
    clients: list[ClientEvaluation]
    failed: list[ClientFailure]


class ClientTrainRecord(ClientTraffic):
    """One client's training in a round.

    Attributes:
        rank: rank of the client's adapter.
        examples: examples trained on.
        tokens: tokens of these examples.
        steps: optimizer steps.
        batch_size: examples per forward pass, after reduction for lack of memory.
        train_loss: mean loss in nats per token.
        seconds: wall time.
        gpu_memory_mb: peak GPU memory in MB of 10^6 bytes; None on a CPU.
    """

    rank: int
    examples: int
    tokens: int
    steps: int
    batch_size: int
    train_loss: float
    seconds: float
    gpu_memory_mb: int | None


class LayerDrift(Part):
    """Distances from ΔW*, the clients' mean update of a layer.

    Attributes:
        norm: Frobenius norm of ΔW*.
        average: distance of the averaged factors, relative to ``norm``; None if ranks differ.
        best: distance of the best adapter of the server's rank, relative to ``norm``.
    """

    norm: float
    average: float | None
    best: float


class PrivacySpent(Part):
    """Privacy cost of all rounds so far.

    Attributes:
        epsilon: upper bound.
        delta: probability that the bound does not hold.
        clipping_norm: L2 norm that updates were clipped to; None before the first round.
        noise_deviation: standard deviation of the noise; None before the first round.
    """

    epsilon: float
    delta: float
    clipping_norm: float | None
    noise_deviation: float | None


class GpuUsage(Part):
    """Use of one GPU during a round.

    Attributes:
        name: model of the GPU.
        utilization: mean share of time with a running kernel, in percent.
        memory_mb: peak memory in MB of 10^6 bytes, by all processes.
        memory_total_mb: size of the memory in MB of 10^6 bytes.
    """

    name: str
    utilization: int
    memory_mb: int
    memory_total_mb: int


class RoundRecord(Part):
    """One round. Round 0 is the state before training.

    Attributes:
        round: number of the round.
        learning_rate: learning rate of the round; None for round 0.
        train_loss: mean over clients, weighted by examples; None without any client.
        evaluation: evaluation by the server, if it took place.
        client_evaluation: evaluation by clients, if it took place.
        clients: clients that trained.
        failed: sampled clients without a usable reply.
        absent: names of the clients that were not connected before the round.
        rejection: why the new adapter was dropped and the one before was kept, if it was.
        tokens: tokens that all clients trained on.
        bytes_down: bytes of all messages to clients.
        bytes_up: bytes of all messages from clients.
        seconds: wall time.
        drift: distances from the clients' mean update, by layer.
        privacy: privacy cost, if differential privacy is on.
        gpus: use of the server machine's GPUs.
    """

    round: int
    learning_rate: float | None
    train_loss: float | None
    evaluation: ServerEvaluation | None
    client_evaluation: FederatedEvaluation | None
    clients: list[ClientTrainRecord]
    failed: list[ClientFailure]
    absent: list[str]
    rejection: str | None
    tokens: int
    bytes_down: int
    bytes_up: int
    seconds: float
    drift: dict[str, LayerDrift] | None
    privacy: PrivacySpent | None
    gpus: list[GpuUsage]

    @property
    def bytes_moved(self) -> int:
        """Bytes of all messages, both ways."""
        return self.bytes_down + self.bytes_up

"""history.json of a baseline."""

from blossomtune.artifacts.base import Artifact, Part


class BaselineRoundRecord(Part):
    """A baseline's training in one round of the federation.

    Attributes:
        round: number of the round.
        learning_rate: learning rate of the round.
        train_loss: mean loss in nats per token; None if the round has no steps.
        steps: optimizer steps.
        examples: examples trained on.
        tokens: tokens of these examples.
        seconds: wall time.
    """

    round: int
    learning_rate: float
    train_loss: float | None = None
    steps: int = 0
    examples: int = 0
    tokens: int = 0
    seconds: float = 0.0


class BaselineHistory(Artifact):
    """Settings and rounds of a baseline.

    Attributes:
        clients: names of the clients whose rows it was trained on.
        device: type of the device that trained: ``cpu``, ``cuda``, ``xpu`` or ``mps``.
        base_dtype: data type of the frozen base in training.
        rank: rank of the adapter.
        rounds: all rounds of the federation.
    """

    clients: list[str]
    device: str
    base_dtype: str
    rank: int
    rounds: list[BaselineRoundRecord]

"""Collect the record of a round while it runs."""

from dataclasses import dataclass, field

from blossomtune.artifacts.round_record import (
    ClientFailure,
    ClientTrainRecord,
    FederatedEvaluation,
    GpuUsage,
    LayerDrift,
    PrivacySpent,
    RoundRecord,
    ServerEvaluation,
)


@dataclass
class RoundResult:
    """The parts of a round's record; see ``RoundRecord``."""

    number: int
    learning_rate: float | None = None
    clients: list[ClientTrainRecord] = field(default_factory=list)
    failed: list[ClientFailure] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    rejection: str | None = None
    client_evaluation: FederatedEvaluation | None = None
    evaluation: ServerEvaluation | None = None
    drift: dict[str, LayerDrift] | None = None
    privacy: PrivacySpent | None = None
    gpus: list[GpuUsage] = field(default_factory=list)
    seconds: float = 0.0

    def to_record(self) -> RoundRecord:
        """Return the round's record for history.json."""
        examples = sum(client.examples for client in self.clients)
        loss = sum(client.train_loss * client.examples for client in self.clients)
        traffic = [*self.clients, *self.failed]
        if self.client_evaluation:
            traffic += [*self.client_evaluation.clients, *self.client_evaluation.failed]
        return RoundRecord(
            round=self.number,
            learning_rate=self.learning_rate,
            train_loss=round(loss / examples, 6) if examples else None,
            evaluation=self.evaluation,
            client_evaluation=self.client_evaluation,
            clients=self.clients,
            failed=self.failed,
            absent=self.absent,
            rejection=self.rejection,
            tokens=sum(client.tokens for client in self.clients),
            bytes_down=sum(client.bytes_down for client in traffic),
            bytes_up=sum(client.bytes_up for client in traffic),
            seconds=round(self.seconds, 3),
            drift=self.drift,
            privacy=self.privacy,
            gpus=self.gpus,
        )

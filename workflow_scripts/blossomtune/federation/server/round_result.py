"""TODO docstring."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class RoundResult:
    """What one round did, for history.json."""

    number: int
    learning_rate: float | None = None
    clients: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    client_evaluation: dict[str, Any] | None = None
    evaluation: dict[str, float] | None = None
    drift: dict[str, Any] | None = None
    privacy: dict[str, float] | None = None
    gpus: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def to_record(self) -> dict[str, Any]:
        """The round as history.json has it."""
        examples = sum(c["examples"] for c in self.clients)
        loss = sum(c["train_loss"] * c["examples"] for c in self.clients)
        scored = self.client_evaluation or {"clients": [], "failed": []}
        asked = [*self.clients, *self.failed, *scored["clients"], *scored["failed"]]
        return {
            "round": self.number,
            "learning_rate": self.learning_rate,
            "train_loss": round(loss / examples, 6) if examples else None,
            "evaluation": self.evaluation,
            "client_evaluation": self.client_evaluation,
            "clients": self.clients,
            "failed": self.failed,
            "tokens": sum(c["tokens"] for c in self.clients),
            "bytes_down": sum(c["bytes_down"] for c in asked),
            "bytes_up": sum(c["bytes_up"] for c in asked),
            "drift": self.drift,
            "privacy": self.privacy,
            "seconds": round(self.seconds, 3),
            **({"gpus": self.gpus} if self.gpus else {}),
        }

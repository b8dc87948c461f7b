"""Paths of the files that a federation reads and writes."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class ClientPaths(BaseModel):
    """Paths that clients and server use.

    Attributes:
        model: Directory of the base model.
        preprocessed: Directory of the tokenized rows.
        checkpoints: Directory of the checkpoints of each round.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Path
    preprocessed: Path
    checkpoints: Path


class ServerPaths(ClientPaths):
    """Paths that the server uses.

    Attributes:
        adapter: Directory that the final adapter is written to.
        history: File that the history of the rounds is written to.
    """

    adapter: Path
    history: Path

    def for_clients(self) -> ClientPaths:
        """Return the paths without the server's outputs."""
        return ClientPaths(
            model=self.model, preprocessed=self.preprocessed, checkpoints=self.checkpoints
        )


class TrackerPaths(BaseModel):
    """Paths of the experiment's trackers.

    Attributes:
        config: File with their names.
        folder: Directory of what they store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: Path
    folder: Path

"""One federation to run: the settings and files that server and clients agree on."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from blossomtune.config.conflicts import BASE_UPDATING_AGGREGATIONS
from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.files import read_json


class ClientSpec(BaseModel):
    """Who trains: a client's name, how many rows of tokens it holds, and its adapter's rank.

    Where its rows are elsewhere, it holds 0 as far as anybody here knows.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    num_rows: int
    rank: int


class FederatedRun(BaseModel):
    """Everything about a federation, as JSON can carry it to any process.

    ``adapter`` and ``history`` are where the server writes what came out, ``checkpoints`` is where
    it keeps every round until then. ``until`` is when the run will be stopped from outside, in
    seconds since 1970.
    """

    model_config = ConfigDict(frozen=True)

    seed: int
    lora: LoraSettings
    training: TrainingSettings
    federation: FederationSettings
    clients: tuple[ClientSpec, ...]
    base_model_name: str
    model: Path
    preprocessed: Path
    adapter: Path
    history: Path
    checkpoints: Path
    cores: int = 1
    deadline: float | None = None

    def __hash__(self) -> int:  # ``training.arguments`` is a dictionary, which has none
        return hash(self.model_dump_json())

    @property
    def device(self) -> str:
        """Where clients train: ``cuda`` or ``cpu``."""
        if not self.federation.gpus_per_client:
            return "cpu"
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def has_client_state(self) -> bool:
        """Whether clients keep something from one of their rounds to the next."""
        f = self.federation
        return (
            self.training.optimizer_state == "kept"
            or f.strategy.name == "scaffold"
            or f.communication.precision == "int8"
            or f.aggregation in BASE_UPDATING_AGGREGATIONS
        )

    def redact_for_clients(self) -> "FederatedRun":
        """The job without what only the server may know."""
        privacy = self.federation.privacy
        if privacy is None:
            return self
        open_ = privacy.model_copy(update={"secret": None})
        return self.model_copy(
            update={"federation": self.federation.model_copy(update={"privacy": open_})}
        )

    @classmethod
    def load(cls, path: str | Path) -> "FederatedRun":
        """A job from a JSON file, as ``flwr run --run-config 'job=\\"…\\"'`` names it."""
        return cls.model_validate(read_json(Path(path)))

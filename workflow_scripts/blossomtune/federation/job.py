"""One federation to run: the settings and files that server and clients agree on."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from blossomtune import library
from blossomtune.config.adapters import Lora
from blossomtune.config.combinations import FOLDING
from blossomtune.config.federation import Federation
from blossomtune.config.training import Training
from blossomtune.errors import UserError
from blossomtune.federation import plan
from blossomtune.federation.checkpoints import versions
from blossomtune.federation.ranks import ranks_of
from blossomtune.files import read_json


class Client(BaseModel):
    """Who trains: a client's name, how many rows of tokens it holds, and its adapter's rank.

    Where its rows are elsewhere, it holds 0 as far as anybody here knows.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    rank: int


class Job(BaseModel):
    """Everything about a federation, as JSON can carry it to any process.

    ``adapter`` and ``history`` are where the server writes what came out, ``checkpoints`` is where
    it keeps every round until then. ``until`` is when the run will be stopped from outside, in
    seconds since 1970.
    """

    model_config = ConfigDict(frozen=True)

    seed: int
    lora: Lora
    training: Training
    federation: Federation
    clients: tuple[Client, ...]
    base_name: str
    model: Path
    preprocessed: Path
    adapter: Path
    history: Path
    checkpoints: Path
    cores: int = 1
    until: float | None = None

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
    def keeps(self) -> bool:
        """Whether clients keep something from one of their rounds to the next."""
        f = self.federation
        return (
            self.training.optimizer_state == "kept"
            or f.strategy.name == "scaffold"
            or f.communication.precision == "int8"
            or f.aggregation in FOLDING
        )

    def for_clients(self) -> "Job":
        """The job without what only the server may know."""
        privacy = self.federation.privacy
        if privacy is None:
            return self
        open_ = privacy.model_copy(update={"secret": None})
        return self.model_copy(
            update={"federation": self.federation.model_copy(update={"privacy": open_})}
        )

    @classmethod
    def read(cls, path: str | Path) -> "Job":
        """A job from a JSON file, as ``flwr run --run-config 'job=\\"…\\"'`` names it."""
        return cls.model_validate(read_json(Path(path)))


WAITING = {"engine", "tls", "gpus_per_client", "min_clients", "round_timeout"}
"""Where a round happens and whether it counts, not what it makes. (``device`` says on what.)"""

STOPPING = {"early_stopping", "result", "keep_checkpoints"}
"""What is made of rounds that are done."""


@lru_cache(maxsize=1)
def identity(job: Job, device: str) -> dict[str, Any]:
    """Everything that the adapter after a round depends on, as plain JSON values.

    The number of rounds is part of it only where the learning rate of a round depends on it.
    """
    from blossomtune.federation import privacy

    training = job.training
    told = job.federation.model_dump(mode="json", exclude=WAITING | STOPPING)
    del told["communication"]["budget_mb"]
    if job.federation.privacy:
        told["privacy"]["secret"] = privacy.fingerprint(job.federation.privacy)
    if training.learning_rate_max == training.learning_rate_min:
        del told["rounds"]
    data = read_json(job.preprocessed / "manifest.json")
    return {
        "seed": job.seed,
        "lora": job.lora.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "federation": told,
        "clients": [client.name for client in job.clients],
        "ranks": [client.rank for client in job.clients],
        "data": [client["sha256"] for client in [*data["clients"], data["test"]]],
        "held_out": data.get("held_out", []),
        "model": read_json(job.model / "provenance.json")["files"],
        "device": device,
        "packages": versions(),
        "code": library.digest("federate"),
    }


def describe(config: dict[str, Any], model: Path, partition: Path, **files: Any) -> Job:
    """A job from a stage's configuration and the directories that it was given.

    Args:
        config: what ``blossomtune.config.stages.federate`` returned.
        model: a model directory, with the provenance that fetch_model wrote.
        partition: a partition's directory, for its clients' names and columns.
        files: the remaining fields of ``Job``.

    Raises:
        UserError: where the column that ranks go by does not say one for a client, or where a
            client's rows are too few for ADOPT.
    """
    source = read_json(model / "provenance.json")["source"]
    counts = read_json(files["preprocessed"] / "manifest.json")["clients"]
    rows = {c["client"]: c["rows"] if c["packed"] is None else c["packed"] for c in counts}
    names = [c["name"] for c in read_json(partition / "manifest.json")["clients"]]
    ranks = ranks_of(Lora.model_validate(config["lora"]), partition, names)
    clients = [
        Client(name=name, rows=rows.get(i, 0), rank=rank)
        for i, (name, rank) in enumerate(zip(names, ranks, strict=True))
    ]
    _require_second_step(Training.model_validate(config["training"]), clients)
    return Job(
        clients=clients,
        base_name=source.get("repo") or model.name,
        model=model,
        **config,
        **files,
    )


def _require_second_step(training: Training, clients: Sequence[Client]) -> None:
    """Refuses clients that ADOPT would teach nothing, since its first step only measures."""
    if training.arguments.get("optim") != "adopt" or training.optimizer_state == "kept":
        return
    for number, client in enumerate(clients):
        if client.rows and plan.steps(training, client.rows) == 1:
            raise UserError(
                f"training.arguments.optim: adopt: client {number} ({client.name}) takes one step "
                f"in a round, with {client.rows} rows, and the first step of adopt only measures",
                "take more local epochs or smaller batches, or use optimizer_state: kept",
            )

"""One federation to run: the settings and files that server and clients agree on."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from blossomtune.config.experiments import Federation, Lora, Training
from blossomtune.files import read_json


class Client(BaseModel):
    """Who trains: a client's name and how many rows of tokens it holds."""

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int


class Job(BaseModel):
    """Everything about a federation, as JSON can carry it to any process.

    ``adapter`` and ``history`` are where the server writes what came out, ``checkpoints`` is where
    it keeps every round until then.
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

    def __hash__(self) -> int:  # ``training.arguments`` is a dictionary, which has none
        return hash(self.model_dump_json())

    @classmethod
    def read(cls, path: str | Path) -> "Job":
        """A job from a JSON file, as ``flwr run --run-config 'job=\"…\"'`` names it."""
        return cls.model_validate(read_json(Path(path)))


PACKAGES = ("flwr", "peft", "torch", "transformers", "trl")


def identity(job: Job, device: str) -> dict[str, Any]:
    """Everything that the adapter after a round depends on, as plain JSON values.

    The number of rounds is part of it only where the learning rate of a round depends on it. How
    long the server waits and how many clients it wants decide whether a round counts, not what
    it makes.
    """
    training = job.training
    told = job.federation.model_dump(
        mode="json", exclude={"engine", "min_clients", "round_timeout"}
    )
    if training.learning_rate_max == training.learning_rate_min:
        del told["rounds"]
    data = read_json(job.preprocessed / "manifest.json")
    return {
        "seed": job.seed,
        "lora": job.lora.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "federation": told,
        "clients": [client.name for client in job.clients],
        "data": [client["sha256"] for client in [*data["clients"], data["test"]]],
        "model": read_json(job.model / "provenance.json")["files"],
        "device": device,
        "packages": {name: version(name) for name in PACKAGES},
    }


def describe(config: dict[str, Any], model: Path, partition: Path, **files: Any) -> Job:
    """A job from a stage's configuration and the directories that it was given.

    Args:
        config: what ``blossomtune.config.stages.federate`` returned.
        model: a model directory, with the provenance that fetch_model wrote.
        partition: a partition's directory, for the names of its clients.
        files: the remaining fields of ``Job``.
    """
    source = read_json(model / "provenance.json")["source"]
    counts = read_json(files["preprocessed"] / "manifest.json")["clients"]
    rows = [c["rows"] if c["packed"] is None else c["packed"] for c in counts]
    names = [c["name"] for c in read_json(partition / "manifest.json")["clients"]]
    return Job(
        clients=[Client(name=n, rows=r) for n, r in zip(names, rows, strict=True)],
        base_name=source.get("repo") or model.name,
        model=model,
        **config,
        **files,
    )

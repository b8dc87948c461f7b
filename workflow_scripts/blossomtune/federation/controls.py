"""Controls: the same steps as the federation's, without one.

``centralised`` trains one adapter on the rows of all clients, pooled. ``local_<i>`` trains one on
client i's rows alone. In each round of the federation they take the learning rate of that round
and the steps and rows that its clients take then, the centralised one in an order of its own. So
all local controls together, and the centralised one alone, see the federation's rows, in as many
steps.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets

from blossomtune import library
from blossomtune.config.adapters import Lora
from blossomtune.config.training import Training
from blossomtune.encoding import load_tokenizer
from blossomtune.federation import adapter, plan
from blossomtune.federation.checkpoints import Checkpoint, Checkpoints, versions
from blossomtune.federation.ranks import ranks_of
from blossomtune.federation.trainer import Local, arguments, train
from blossomtune.files import read_json, write_json
from blossomtune.modeling import load_model
from blossomtune.seeds import derive

CENTRALISED = "centralised"


@dataclass(frozen=True)
class Turn:
    """What a control does in one round of the federation.

    Attributes:
        round: 1, 2, …
        learning_rate: of this round.
        steps: optimizer steps; 0 for a client that the federation does not take in this round.
        rows: which of the control's rows it trains on, in order.
    """

    round: int
    learning_rate: float
    steps: int
    rows: list[int]


@dataclass(frozen=True)
class Control:
    """One control to train.

    Attributes:
        config: what ``blossomtune.config.stages.control`` returned.
        client: the one that is alone, or None for all of them together.
    """

    config: Mapping[str, Any]
    client: int | None

    @classmethod
    def named(cls, name: str, config: Mapping[str, Any]) -> "Control":
        """The control of a name: ``centralised`` or ``local_<i>``."""
        return cls(config, None if name == CENTRALISED else int(name.removeprefix("local_")))

    @property
    def who(self) -> int | str:
        """Whose random choices these are: a client draws as it does in the federation."""
        return CENTRALISED if self.client is None else self.client

    @property
    def training(self) -> Training:
        """What is done in a round."""
        return Training.model_validate(self.config["training"])

    def turns(self, rows: Sequence[int]) -> Iterator[Turn]:
        """All rounds.

        Args:
            rows: how many each of the federation's clients has.
        """
        seed, rounds, training = self.config["seed"], self.config["rounds"], self.training
        pooled = self.client is None
        first = np.cumsum([0, *rows]) if pooled else np.zeros(len(rows), int)
        taken = [0] * len(rows)
        for number in range(1, rounds + 1):
            walk: list[int] = []
            steps = 0
            for i in plan.sample(seed, number, len(rows), self.config["fraction_train"]):
                if self.client in (None, i):
                    more = plan.steps(training, rows[i])
                    count = more * plan.examples_per_step(training)
                    each = plan.examples(seed, i, rows[i], taken[i], count)
                    walk += [int(first[i]) + row for row in each]
                    steps, taken[i] = steps + more, taken[i] + count
            if pooled:
                random = np.random.default_rng(derive(seed, "order", CENTRALISED, number))
                walk = [walk[i] for i in random.permutation(len(walk))]
            yield Turn(number, plan.learning_rate(training, number, rounds), steps, walk)


def run(
    control: Control,
    *,
    model: Path,
    partition: Path,
    preprocessed: Path,
    adapter_dir: Path,
    history: Path,
    checkpoints: Path,
) -> None:
    """Trains a control, going on after the last round that an earlier attempt finished.

    Args:
        control: which one.
        model: the base, with its provenance.
        partition: for the clients' names, and the column that ranks may go by.
        preprocessed: with every client's rows of tokens.
        adapter_dir: where the adapter goes, in PEFT's layout.
        history: where the records of the rounds go, as JSON.
        checkpoints: where every round is kept.
    """
    config, training = control.config, control.training
    lora = Lora.model_validate(config["lora"])
    names = [client["name"] for client in read_json(partition / "manifest.json")["clients"]]
    rank = lora.r if control.client is None else ranks_of(lora, partition, names)[control.client]
    pieces = [Dataset.from_file(str(preprocessed / f"client_{i}.arrow")) for i in range(len(names))]
    mine = concatenate_datasets(pieces) if control.client is None else pieces[control.client]
    torch.set_num_threads(config["threads"])
    device = "cuda" if config["gpu"] and torch.cuda.is_available() else "cpu"
    base = load_model(model, quantization=training.quantization, device=device)
    tokenizer = load_tokenizer(model)
    adapted = adapter.attach(base, lora, config["seed"], rank)

    kept = Checkpoints(checkpoints, _identity(control, rank, model, preprocessed, device))
    optimizer: adapter.State = {}
    records: list[dict[str, Any]] = []
    if done := kept.latest(config["rounds"]):
        adapter.write(adapted, done.state)
        optimizer, records = done.server, done.history
    for turn in control.turns([len(piece) for piece in pieces]):
        if turn.round <= len(records):
            continue
        record = {"round": turn.round, "learning_rate": turn.learning_rate, "train_loss": None}
        record |= {"steps": 0, "examples": 0, "tokens": 0, "seconds": 0.0}
        if turn.steps:
            record |= _train(control, turn, adapted, tokenizer, mine, optimizer)
        records.append(record)
        kept.save(Checkpoint(turn.round, adapter.read(adapted), records, optimizer))
        print(_line(record, config["rounds"]), flush=True)

    name = read_json(model / "provenance.json")["source"].get("repo") or model.name
    adapter.save(adapter.read(adapted), lora, name, adapter_dir, rank)
    clients = names if control.client is None else [names[control.client]]
    write_json(history, {"clients": clients, "device": device, "rank": rank, "rounds": records})


def _train(
    control: Control,
    turn: Turn,
    model: Any,
    tokenizer: Any,
    rows: Dataset,
    optimizer: adapter.State,
) -> dict[str, Any]:
    """One round: the adapter and the state of its optimizer change in place."""
    started = time.perf_counter()
    training, seed = control.training, control.config["seed"]
    with tempfile.TemporaryDirectory() as scratch:
        config = arguments(
            training.arguments,
            learning_rate=turn.learning_rate,
            steps=turn.steps,
            seed=derive(seed, "training", control.who, turn.round) >> 1,  # numpy: below 2**32
            cpu=model.device.type == "cpu",
            to=Path(scratch),
        )
        local = Local(optimizer=optimizer or None, keep=training.optimizer_state == "kept")
        trained = train(model, tokenizer, rows.select(turn.rows), config, local)
    if local.keep:
        optimizer.update(trained.optimizer)
    return {
        "train_loss": round(trained.loss, 6),
        **trained.seen,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _identity(
    control: Control, rank: int, model: Path, preprocessed: Path, device: str
) -> dict[str, Any]:
    """Everything that a round's result depends on, as plain JSON values.

    The number of rounds is part of it only where the learning rate of a round depends on it.
    """
    told = dict(control.config)
    if control.training.learning_rate_max == control.training.learning_rate_min:
        del told["rounds"]
    clients = read_json(preprocessed / "manifest.json")["clients"]
    return told | {
        "control": control.who,
        "rank": rank,
        "data": [client["sha256"] for client in clients],
        "model": read_json(model / "provenance.json")["files"],
        "device": device,
        "packages": versions(),
        "code": library.digest("control"),
    }


def _line(record: Mapping[str, Any], rounds: int) -> str:
    loss = "not taken" if record["train_loss"] is None else f"training loss {record['train_loss']}"
    return f"round {record['round']}/{rounds}: {loss}, {record['steps']} steps"

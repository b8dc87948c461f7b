"""What a process that trains keeps from round to round: the model and the clients' data."""

import gc
import tempfile
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from blossomtune.encoding import load_tokenizer, pad_id
from blossomtune.federation import adapter, plan, scaffold
from blossomtune.federation.adapter import State
from blossomtune.federation.held_out import score
from blossomtune.federation.job import Job
from blossomtune.federation.naming import Folds, above, below, named, unnamed
from blossomtune.federation.trainer import Local, arguments, train
from blossomtune.modeling import load_model
from blossomtune.seeds import derive


@dataclass(frozen=True)
class Order:
    """What the server asks of a client in a round.

    Attributes:
        round: 1, 2, …
        last: the last round before it that the server has an answer of this client from; 0 if none.
        run: the name of this way to train; what clients keep belongs to it.
        state: the global adapter, at the client's rank; what the client knows itself is left out.
        folded: by round since ``last``, what has been added to the base's weights since.
        control: SCAFFOLD's c, by the adapter's names.
    """

    round: int
    last: int
    run: str
    state: State
    folded: Folds = field(default_factory=dict)
    control: State | None = None


@dataclass(frozen=True)
class Answer:
    """What a client has to say after a round.

    Attributes:
        start: the trained part of the adapter as it was.
        state: the same after training.
        control: by how much SCAFFOLD's c_i changed, or None.
        metrics: numbers of the round.
        kept: what the client keeps for its next round.
    """

    start: State
    state: State
    control: State | None
    metrics: dict[str, float]
    kept: State


class Worker:
    """One model in memory that becomes every client's in turn."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.federation.threads_per_client)
        if job.device == "cuda":  # so that nobody takes the memory of those it shares a GPU with
            torch.cuda.set_per_process_memory_fraction(job.federation.gpus_per_client)
        self.job = job
        self.tokenizer = load_tokenizer(job.model)
        self._load()
        gc.freeze()  # trainers collect garbage twice a round, and all that is here stays

    def _load(self) -> None:
        job = self.job
        quantization = job.training.quantization
        model = load_model(job.model, quantization=quantization, device=job.device)
        self._attach(model, job.lora.r)
        self.initial = adapter.read(self._model)  # at the server's rank
        self._folded: list[int] = []

    def _attach(self, base: Any, rank: int) -> None:
        self._model = adapter.attach(base, self.job.lora, self.job.seed, rank)
        self._rank = rank

    def model(self, rank: int, folded: Folds) -> Any:
        """The model with an adapter of a rank, and its base with these updates in it.

        Updates are added in the order of their rounds, one after another, so that the sum has the
        same bits whichever rounds this process has seen.
        """
        rounds = sorted(folded)
        if self._folded != rounds[: len(self._folded)]:
            self._load()
        if self._rank != rank:
            self._attach(self._model.unload(), rank)
        for number in rounds[len(self._folded) :]:
            adapter.fold(self._model, folded[number])
        self._folded = rounds
        return self._model


@lru_cache(maxsize=1)
def warm(job: Job) -> Worker:
    """The worker of this process: its model is loaded once."""
    return Worker(job)


@lru_cache(maxsize=64)
def rows_of(preprocessed: Path, client: int, part: str = "") -> Dataset:
    """A client's tokenised rows, memory-mapped; ``.validation`` for those that it holds out."""
    return Dataset.from_file(str(preprocessed / f"client_{client}{part}.arrow"))


def train_round(job: Job, client: int, order: Order, kept: State) -> Answer:
    """Trains one client for one round.

    Args:
        job: the federation.
        client: the client's number.
        order: what the server sent.
        kept: what the client kept after its last round.
    """
    started = time.perf_counter()
    federation, rows = job.federation, job.clients[client].rows
    folded = unnamed(below("fold", kept)) | order.folded
    worker = warm(job)
    model = worker.model(job.clients[client].rank, folded)
    if job.device == "cuda":
        torch.cuda.empty_cache()  # what another client left
        torch.cuda.reset_peak_memory_stats()
    adapter.write(model, _whole(worker, order.state))
    factor = plan.factor(federation.aggregation, order.round)
    adapter.train_only(model, factor)
    start = adapter.part(adapter.read(model), factor)
    mine, shift = None, None
    if order.control is not None:
        mine = below("control", kept) or {n: torch.zeros_like(v) for n, v in start.items()}
        shift = {name: order.control[name] - mine[name] for name in mine}

    steps = plan.steps(job.training, rows)
    rate = plan.learning_rate(job.training, order.round, federation.rounds)
    count = steps * plan.examples_per_step(job.training)
    rounds = plan.walked(job.seed, client, order.round, len(job.clients), federation.fraction_train)
    chosen = plan.examples(job.seed, client, rows, rounds * count, count)
    with tempfile.TemporaryDirectory() as scratch:
        config = arguments(
            job.training.arguments,
            learning_rate=rate,
            steps=steps,
            seed=derive(job.seed, "training", client, order.round) >> 1,  # numpy: below 2**32
            cpu=model.device.type == "cpu",
            to=Path(scratch),
        )
        trained = train(
            model,
            worker.tokenizer,
            rows_of(job.preprocessed, client).select(chosen),
            config,
            Local(
                mu=getattr(federation.strategy, "mu", 0.0),
                shift=shift,
                optimizer=below(f"optimizer/{factor}", kept) or None,
                keep=job.training.optimizer_state == "kept",
            ),
        )
    state = adapter.part(adapter.read(model), factor)
    control = None
    if mine is not None:
        new = scaffold.client_control(
            mine, order.control, start, state, rate, trained.seen["steps"]
        )
        control = {name: new[name] - mine[name] for name in new}
        mine = new
    kept = kept | above(f"optimizer/{factor}", trained.optimizer)
    kept |= above("control", mine or {}) | above("fold", named(folded))
    return Answer(
        start=start,
        state=state,
        control=control,
        metrics={
            **{f"num-{what}": float(n) for what, n in trained.seen.items()},
            "train-loss": trained.loss,
            "batch-size": float(trained.batch_size),
            "seconds": time.perf_counter() - started,
            "gpu-memory": float(torch.cuda.max_memory_reserved() if job.device == "cuda" else 0),
        },
        kept=kept,
    )


def evaluate_round(job: Job, client: int, order: Order, kept: State) -> dict[str, float]:
    """Scores the global adapter on the rows that a client holds out for validation."""
    worker = warm(job)
    model = worker.model(job.clients[client].rank, unnamed(below("fold", kept)) | order.folded)
    adapter.write(model, _whole(worker, order.state))
    rows = rows_of(job.preprocessed, client, ".validation")
    return {
        "loss": score(model, rows.to_list(), pad_id(worker.tokenizer)),
        "rows": float(len(rows)),
    }


def _whole(worker: Worker, state: State) -> State:
    """The adapter with what the server left out, because it never changes."""
    return (worker.initial if len(state) < len(worker.initial) else {}) | state

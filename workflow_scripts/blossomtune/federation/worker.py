"""What a process that trains keeps from round to round: the model and the clients' data."""

import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from blossomtune.encoding import load_tokenizer
from blossomtune.federation import adapter, plan
from blossomtune.federation.job import Job
from blossomtune.federation.trainer import arguments, train
from blossomtune.modeling import load_model
from blossomtune.seeds import derive


@lru_cache(maxsize=1)
def warm(job: Job) -> tuple[Any, Any]:
    """The model with an adapter, and its tokenizer: loaded once a process."""
    torch.set_num_threads(job.federation.threads_per_client)
    model = adapter.attach(load_model(job.model), job.lora, job.seed)
    if job.federation.gpus_per_client and torch.cuda.is_available():
        model = model.to("cuda")
    return model, load_tokenizer(job.model)


@lru_cache(maxsize=64)
def rows_of(preprocessed: Path, client: int) -> Dataset:
    """A client's tokenised rows, memory-mapped."""
    return Dataset.from_file(str(preprocessed / f"client_{client}.arrow"))


def train_round(
    job: Job, client: int, round_: int, state: dict[str, Tensor]
) -> tuple[adapter.State, dict[str, float]]:
    """Trains one client for one round.

    Args:
        job: the federation.
        client: the client's number.
        round_: 1, 2, …
        state: the global adapter.

    Returns:
        ``(adapter, metrics)`` with examples, tokens, steps, train_loss and seconds.
    """
    started = time.perf_counter()
    model, tokenizer = warm(job)
    adapter.write(model, state)
    federation, rows = job.federation, job.clients[client].rows
    steps = plan.steps(job.training, rows)
    count = steps * plan.examples_per_step(job.training)
    rounds = plan.walked(job.seed, client, round_, len(job.clients), federation.fraction_train)
    chosen = plan.examples(job.seed, client, rows, rounds * count, count)
    with tempfile.TemporaryDirectory() as scratch:
        config = arguments(
            job.training.arguments,
            learning_rate=plan.learning_rate(job.training, round_, federation.rounds),
            steps=steps,
            seed=derive(job.seed, "training", client, round_) >> 1,  # numpy wants less than 2**32
            cpu=model.device.type == "cpu",
            to=Path(scratch),
        )
        loss, seen = train(
            model, tokenizer, rows_of(job.preprocessed, client).select(chosen), config
        )
    return adapter.read(model), {
        **{f"num-{what}": float(n) for what, n in seen.items()},
        "train-loss": loss,
        "seconds": time.perf_counter() - started,
    }

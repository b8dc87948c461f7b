"""How much of a GPU a client needs: the longest batch is trained on, and memory looked at."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset

from blossomtune.encoding import pad_id
from blossomtune.federation.held_out import score
from blossomtune.federation.job import Job
from blossomtune.federation.trainer import Local, Trained, arguments, train
from blossomtune.federation.worker import rows_of, warm
from blossomtune.files import write_json
from blossomtune.gpus import free, visible

STEPS = 2
"""In the second one, what the optimizer keeps is there too."""


def longest(job: Job, count: int, part: str = "") -> Dataset:
    """So many of a client's longest rows, of the client whose ones are the longest.

    Their first tokens are made to differ: where rows begin alike, a batch needs less (``sharing``),
    and others may not.
    """
    found = []
    for client in range(len(job.clients)):
        rows = rows_of(job.preprocessed, client, part)
        lengths = np.diff(rows.data.column("input_ids").combine_chunks().offsets.to_numpy())
        order = np.argsort(-lengths, kind="stable")[:count]
        found.append((lengths[order].sum(), rows.select(order)))
    rows = max(found, key=lambda each: each[0])[1].to_list()
    return Dataset.from_list(
        [row | {"input_ids": [i, *row["input_ids"][1:]]} for i, row in enumerate(rows)]
    )


def heaviest(job: Job) -> Trained:
    """Trains on such rows at the highest rank there is; scores some, where clients are to."""
    worker = warm(job)
    model = worker.model(max(client.rank for client in job.clients), {})
    with tempfile.TemporaryDirectory() as scratch:
        config = arguments(
            job.training.arguments,
            learning_rate=job.training.learning_rate_max,
            steps=STEPS,
            seed=0,
            cpu=model.device.type == "cpu",
            to=Path(scratch),
        )
        rows = longest(job, config.per_device_train_batch_size)
        times = STEPS * config.gradient_accumulation_steps
        batches = rows.select(list(range(len(rows))) * times)
        trained = train(model, worker.tokenizer, batches, config, Local())
    if job.federation.fraction_evaluate:
        score(model, longest(job, 16, ".validation").to_list(), pad_id(worker.tokenizer))
    return trained


def measure(job: Job) -> tuple[int, int]:
    """Bytes of this process's GPU that training takes at most, and that it has.

    With what CUDA itself takes, which PyTorch does not count. Nobody else may come or go meanwhile.
    """
    [gpu] = visible()
    before = free(gpu)
    heaviest(job)
    rest = before - free(gpu) - torch.cuda.memory_reserved()
    return rest + torch.cuda.max_memory_reserved(), torch.cuda.mem_get_info()[1]


if __name__ == "__main__":
    write_json(Path(sys.argv[2]), measure(Job.read(sys.argv[1])))

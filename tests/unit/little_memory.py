"""Trains in a process of its own that gets little memory: ``little_memory.py MODEL SCRATCH``.

A process that has run other tests has too many holes to be limited to the megabyte.
"""

import ctypes
import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from datasets import Dataset

from blossomtune.config.adapters import Lora
from blossomtune.encoding import load_tokenizer
from blossomtune.errors import UserError
from blossomtune.federation import adapter
from blossomtune.federation.trainer import Local, arguments, train
from blossomtune.modeling import load_model


@contextmanager
def memory_left(megabytes: int) -> Iterator[None]:
    """Lets this process take no more than so much beyond what it has."""
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (has + megabytes * 2**20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def rows() -> Dataset:
    """Two steps of 12: short rows first, then packed ones whose attention needs much memory."""
    lengths = [[5 + i] for i in range(12)] + [[500, 500 - i] for i in range(12)]
    ids = [[3 + (7 * i) % 250 for i in range(sum(each))] for each in lengths]
    return Dataset.from_list(
        [
            {"input_ids": each, "labels": each, "seq_lengths": parts}
            for each, parts in zip(ids, lengths, strict=True)
        ]
    )


def main(directory: Path, scratch: Path) -> dict:
    """What came out of a round in little memory, and of the same in the batches that it found.

    And what is said where batches may not become smaller.
    """
    ctypes.CDLL(None).mallopt(-3, 2**17)  # glibc: large tensors get, and give back, their own pages
    torch.set_num_threads(1)
    tokenizer, data = load_tokenizer(directory), rows()
    model = adapter.attach(load_model(directory), Lora(r=4, alpha=8, dropout=0.1), seed=1)

    def run(local: Local, which: Dataset = data, steps: int = 2, left: int = 2**20, **chosen):
        config = arguments(chosen, learning_rate=1e-2, steps=steps, seed=3, cpu=True, to=scratch)
        with memory_left(left):
            return train(model, tokenizer, which, config, local)

    earlier = run(Local(keep=True), data.select(range(4)), per_device_train_batch_size=2)
    start = adapter.read(model)
    kept = {name: value.clone() for name, value in earlier.optimizer.items()}
    local = Local(mu=0.1, optimizer=earlier.optimizer, keep=True)
    found = run(local, left=40, per_device_train_batch_size=12, auto_find_batch_size=True)
    end = adapter.read(model) | found.optimizer

    adapter.write(model, start)
    direct = run(
        local,
        per_device_train_batch_size=found.batch_size,
        gradient_accumulation_steps=12 // found.batch_size,
    )
    expected = adapter.read(model) | direct.optimizer

    said = ""
    try:
        run(Local(), data.select(range(12, 24)), 1, left=0, per_device_train_batch_size=12)
    except UserError as error:
        said = str(error)
    return {
        "batch_size": found.batch_size,
        "seen": found.seen,
        "direct": direct.seen,
        "same": (found.loss == direct.loss and end.keys() == expected.keys())
        and all(torch.equal(end[name], expected[name]) for name in end),
        "moved": any(not torch.equal(end[name], start[name]) for name in start),
        "kept": all(torch.equal(kept[name], earlier.optimizer[name]) for name in kept),
        "said": said,
    }


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))

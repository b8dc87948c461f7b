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

from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.modeling.load import load_model
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.training import adapter
from blossomtune.training.sft_config import build_sft_config
from blossomtune.training.trainer import LocalObjective, train_adapter


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
    model = adapter.build_peft_model(
        load_model(directory), LoraSettings(r=4, alpha=8, dropout=0.1), seed=1
    )

    def run(
        local: LocalObjective, which: Dataset = data, steps: int = 2, left: int = 2**20, **chosen
    ):
        config = build_sft_config(
            chosen, learning_rate=1e-2, max_steps=steps, seed=3, use_cpu=True, output_dir=scratch
        )
        with memory_left(left):
            return train_adapter(model, tokenizer, which, config, local)

    earlier = run(
        LocalObjective(return_optimizer_state=True),
        data.select(range(4)),
        per_device_train_batch_size=2,
    )
    start = adapter.get_adapter_state(model)
    kept = {name: value.clone() for name, value in earlier.optimizer_state.items()}
    local = LocalObjective(
        proximal_mu=0.1, optimizer_state=earlier.optimizer_state, return_optimizer_state=True
    )
    found = run(local, left=40, per_device_train_batch_size=12, auto_find_batch_size=True)
    end = adapter.get_adapter_state(model) | found.optimizer_state

    adapter.set_adapter_state(model, start)
    direct = run(
        local,
        per_device_train_batch_size=found.batch_size,
        gradient_accumulation_steps=12 // found.batch_size,
    )
    expected = adapter.get_adapter_state(model) | direct.optimizer_state

    said = ""
    try:
        run(LocalObjective(), data.select(range(12, 24)), 1, left=0, per_device_train_batch_size=12)
    except UserError as error:
        said = str(error)
    return {
        "batch_size": found.batch_size,
        "seen": found.counts,
        "direct": direct.counts,
        "same": (found.loss == direct.loss and end.keys() == expected.keys())
        and all(torch.equal(end[name], expected[name]) for name in end),
        "moved": any(not torch.equal(end[name], start[name]) for name in start),
        "kept": all(torch.equal(kept[name], earlier.optimizer_state[name]) for name in kept),
        "said": said,
    }


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))

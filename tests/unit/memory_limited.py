"""Train in a process with little memory: ``memory_limited.py MODEL SCRATCH``.

The heap of a process that has run other tests is too fragmented to be limited to the megabyte.
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
def limit_memory(megabytes: int) -> Iterator[None]:
    """Let this process allocate no more than ``megabytes`` beyond what it has."""
    allocated = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (allocated + megabytes * 2**20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def build_rows() -> Dataset:
    """Return rows for two steps of 12: short rows, then packed ones that need much memory."""
    lengths = [[5 + i] for i in range(12)] + [[500, 500 - i] for i in range(12)]
    ids = [[3 + (7 * i) % 250 for i in range(sum(each))] for each in lengths]
    return Dataset.from_list(
        [
            {"input_ids": each, "labels": each, "seq_lengths": parts}
            for each, parts in zip(ids, lengths, strict=True)
        ]
    )


def main(directory: Path, scratch: Path) -> dict:
    """Compare a round in little memory with a round in the batch size that it ended with.

    The last item is the error where the batch size is fixed.
    """
    ctypes.CDLL(None).mallopt(-3, 2**17)  # glibc: large tensors get, and give back, their own pages
    torch.set_num_threads(1)
    tokenizer, rows = load_tokenizer(directory), build_rows()
    model = adapter.build_peft_model(
        load_model(directory), LoraSettings(r=4, alpha=8, dropout=0.1), seed=1
    )

    def run(
        objective: LocalObjective,
        rows: Dataset = rows,
        steps: int = 2,
        megabytes: int = 2**20,
        **args,
    ):
        config = build_sft_config(
            args, learning_rate=1e-2, max_steps=steps, seed=3, use_cpu=True, output_dir=scratch
        )
        with limit_memory(megabytes):
            return train_adapter(model, tokenizer, rows, config, objective)

    earlier = run(
        LocalObjective(return_optimizer_state=True),
        rows.select(range(4)),
        per_device_train_batch_size=2,
    )
    start = adapter.get_adapter_state(model)
    optimizer_state = {name: value.clone() for name, value in earlier.optimizer_state.items()}
    objective = LocalObjective(
        proximal_mu=0.1, optimizer_state=earlier.optimizer_state, return_optimizer_state=True
    )
    limited = run(
        objective, megabytes=40, per_device_train_batch_size=12, auto_find_batch_size=True
    )
    end = adapter.get_adapter_state(model) | limited.optimizer_state

    adapter.set_adapter_state(model, start)
    direct = run(
        objective,
        per_device_train_batch_size=limited.batch_size,
        gradient_accumulation_steps=12 // limited.batch_size,
    )
    expected = adapter.get_adapter_state(model) | direct.optimizer_state

    message = ""
    try:
        run(
            LocalObjective(),
            rows.select(range(12, 24)),
            1,
            megabytes=0,
            per_device_train_batch_size=12,
        )
    except UserError as error:
        message = str(error)
    return {
        "batch_size": limited.batch_size,
        "counts": limited.counts,
        "direct_counts": direct.counts,
        "is_same": (limited.loss == direct.loss and end.keys() == expected.keys())
        and all(torch.equal(end[name], expected[name]) for name in end),
        "is_trained": any(not torch.equal(end[name], start[name]) for name in start),
        "is_state_intact": all(
            torch.equal(optimizer_state[name], earlier.optimizer_state[name])
            for name in optimizer_state
        ),
        "message": message,
    }


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))

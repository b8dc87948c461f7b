"""How much of a GPU a client needs: the longest batch is trained on, and memory looked at."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset

from blossomtune.federation.client.worker import get_worker, load_client_rows
from blossomtune.federation.run import FederatedRun
from blossomtune.files import write_json
from blossomtune.gpus import get_free_memory, list_visible_gpus
from blossomtune.modeling.eval_loss import compute_eval_loss
from blossomtune.modeling.tokenizer import get_pad_token_id
from blossomtune.training.sft_config import build_sft_config
from blossomtune.training.trainer import LocalObjective, TrainResult, train_adapter

PROFILE_STEPS = 2
"""In the second one, what the optimizer keeps is there too."""


def select_longest_rows(run: FederatedRun, num_rows: int, split_suffix: str = "") -> Dataset:
    """So many of a client's longest rows, of the client whose ones are the longest.

    Their first tokens are made to differ: where rows begin alike, a batch needs less (``sharing``),
    and others may not.
    """
    found = []
    for client in range(len(run.spec.clients)):
        rows = load_client_rows(run.paths.preprocessed, client, split_suffix)
        lengths = np.diff(rows.data.column("input_ids").combine_chunks().offsets.to_numpy())
        order = np.argsort(-lengths, kind="stable")[:num_rows]
        found.append((lengths[order].sum(), rows.select(order)))
    rows = max(found, key=lambda each: each[0])[1].to_list()
    return Dataset.from_list(
        [row | {"input_ids": [i, *row["input_ids"][1:]]} for i, row in enumerate(rows)]
    )


def train_largest_batch(run: FederatedRun) -> TrainResult:
    """Trains on such rows at the highest rank there is; scores some, where clients are to."""
    worker = get_worker(run)
    model = worker.prepare_model(max(client.rank for client in run.spec.clients), {})
    with tempfile.TemporaryDirectory() as scratch:
        config = build_sft_config(
            run.spec.training.arguments,
            learning_rate=run.spec.training.learning_rate_max,
            max_steps=PROFILE_STEPS,
            seed=0,
            use_cpu=model.device.type == "cpu",
            output_dir=Path(scratch),
        )
        rows = select_longest_rows(run, config.per_device_train_batch_size)
        times = PROFILE_STEPS * config.gradient_accumulation_steps
        batches = rows.select(list(range(len(rows))) * times)
        trained = train_adapter(model, worker.tokenizer, batches, config, LocalObjective())
    if run.spec.federation.fraction_evaluate:
        compute_eval_loss(
            model,
            select_longest_rows(run, 16, ".validation").to_list(),
            get_pad_token_id(worker.tokenizer),
        )
    return trained


def profile_memory(run: FederatedRun) -> tuple[int, int]:
    """Bytes of this process's GPU that training takes at most, and that it has.

    With what CUDA itself takes, which PyTorch does not count. Nobody else may come or go meanwhile.
    """
    [gpu] = list_visible_gpus()
    before = get_free_memory(gpu)
    train_largest_batch(run)
    rest = before - get_free_memory(gpu) - torch.cuda.memory_reserved()
    return rest + torch.cuda.max_memory_reserved(), torch.cuda.mem_get_info()[1]


if __name__ == "__main__":
    write_json(Path(sys.argv[2]), profile_memory(FederatedRun.load(sys.argv[1])))

"""Measure the GPU memory that a client needs for its largest batch."""

import sys
import tempfile
from pathlib import Path

import numpy as np
from datasets import Dataset

from blossomtune.federation.client.worker import get_worker, load_client_rows
from blossomtune.federation.run import FederatedRun
from blossomtune.files import write_json
from blossomtune.gpus import get_free_memory, list_visible_gpus
from blossomtune.modeling import devices
from blossomtune.modeling.eval_loss import compute_eval_loss
from blossomtune.training.sft_config import build_sft_config
from blossomtune.training.trainer import LocalObjective, TrainResult, train_adapter

PROFILE_STEPS = 2
"""Number of measured steps; the optimizer's state exists from the second one on."""


def select_longest_rows(run: FederatedRun, num_rows: int, split_suffix: str = "") -> Dataset:
    """Return the longest rows of the client whose longest rows have the most tokens.

    Their first tokens are made different: rows with a common prefix need less memory.

    Args:
        run: The run.
        num_rows: Number of rows.
        split_suffix: Suffix of the rows' file name, such as ``.validation``.

    Returns:
        A data set with the columns of tokenized rows.
    """
    candidates = []
    for client in range(len(run.spec.clients)):
        rows = load_client_rows(run.paths.preprocessed, client, split_suffix)
        lengths = np.diff(rows.data.column("input_ids").combine_chunks().offsets.to_numpy())
        order = np.argsort(-lengths, kind="stable")[:num_rows]
        candidates.append((lengths[order].sum(), rows.select(order)))
    rows = max(candidates, key=lambda candidate: candidate[0])[1].to_list()
    return Dataset.from_list(
        [row | {"input_ids": [i, *row["input_ids"][1:]]} for i, row in enumerate(rows)]
    )


def train_largest_batch(run: FederatedRun) -> TrainResult:
    """Train on the longest rows at the highest rank; evaluate the longest if clients evaluate."""
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
        num_batches = PROFILE_STEPS * config.gradient_accumulation_steps
        batches = rows.select(list(range(len(rows))) * num_batches)
        result = train_adapter(model, worker.tokenizer, batches, config, LocalObjective())
    if run.spec.federation.fraction_evaluate:
        compute_eval_loss(model, select_longest_rows(run, 16, ".validation").to_list())
    return result


def profile_memory(run: FederatedRun) -> tuple[int, int]:
    """Return the peak memory of training on this process's GPU and the GPU's memory, in bytes.

    The peak includes CUDA's own memory, which PyTorch does not count. Other processes must not
    allocate or free memory of the GPU meanwhile.
    """
    [gpu] = list_visible_gpus()
    free_before = get_free_memory(gpu)
    train_largest_batch(run)
    device = devices.select_device()
    overhead = free_before - get_free_memory(gpu) - devices.get_reserved_memory(device)
    return overhead + devices.get_peak_memory(device), devices.get_memory(device)[1]


if __name__ == "__main__":
    write_json(Path(sys.argv[2]), profile_memory(FederatedRun.load(sys.argv[1])))

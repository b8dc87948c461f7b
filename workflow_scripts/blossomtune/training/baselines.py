"""Train non-federated baselines with the federation's steps, rows and learning rates."""

import gc
import logging
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, concatenate_datasets

from blossomtune.artifacts.baseline_history import BaselineHistory, BaselineRoundRecord
from blossomtune.artifacts.files import read_artifact, write_artifact
from blossomtune.artifacts.partition_manifest import PartitionManifest
from blossomtune.artifacts.provenance import Provenance
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.code_dependencies import compute_code_digest
from blossomtune.config.lora import LoraSettings
from blossomtune.modeling.devices import select_device
from blossomtune.modeling.load import load_model, parse_dtype
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.named_tensors import StateDict
from blossomtune.package_versions import get_package_versions
from blossomtune.terminal_bar import iterate_with_bar
from blossomtune.training import adapter
from blossomtune.training.adapter_files import save_adapter
from blossomtune.training.baseline_schedule import Baseline
from blossomtune.training.checkpoints import Checkpoint, CheckpointStore
from blossomtune.training.initial_adapter import restore_precision
from blossomtune.training.preflight import check_model
from blossomtune.training.ranks import resolve_client_ranks
from blossomtune.training.schedule import ScheduledRound, derive_training_seed
from blossomtune.training.trainer import LocalObjective, train_scheduled_round

logger = logging.getLogger(__name__)


def train_baseline(
    baseline: Baseline,
    *,
    model: Path,
    partition: Path,
    preprocessed: Path,
    adapter_dir: Path,
    history: Path,
    checkpoints: Path,
) -> None:
    """Train a baseline and write its adapter and history. Completed rounds are resumed.

    ``centralised`` trains on the rows of all clients, in a random order per round. ``local_<i>``
    trains on the rows of client i. In each round a baseline trains on the rows that its clients
    train on in the federation, with as many steps and the same learning rate.

    Args:
        baseline: The baseline to train.
        model: Directory of the base model, with its provenance.
        partition: Directory of the partition.
        preprocessed: Directory of the clients' tokenized rows.
        adapter_dir: PEFT directory to write.
        history: JSON file to write.
        checkpoints: Directory of checkpoints.
    """
    config, client = baseline.config, baseline.client
    lora = LoraSettings.model_validate(config["lora"])
    names = read_artifact(partition / "manifest.json", PartitionManifest).client_names
    rank = lora.r if client is None else resolve_client_ranks(lora, partition, names)[client]
    datasets = [
        Dataset.from_file(str(preprocessed / f"client_{i}.arrow")) for i in range(len(names))
    ]
    dataset = concatenate_datasets(datasets) if client is None else datasets[client]
    torch.set_num_threads(config["threads"])
    device = select_device().type if config["gpus"] else "cpu"
    training = baseline.training
    num_devices = max(1, config["gpus"] if device != "cpu" else 1)
    dtype = parse_dtype(training.base_dtype)
    base = load_model(model, dtype, training.quantization, device, num_devices)
    peft_model = adapter.build_peft_model(base, lora, config["seed"], rank)
    restore_precision(peft_model, model, lora, config["seed"])
    manifest = read_artifact(preprocessed / "manifest.json", TokenizedManifest)
    check_model(peft_model, lora, packing=manifest.packing)
    tokenizer = load_tokenizer(model)
    gc.freeze()  # trainers collect garbage twice per round, and these objects stay

    identity = _build_identity(baseline, rank, model, preprocessed, device)
    store = CheckpointStore(checkpoints, identity, BaselineRoundRecord)
    optimizer_state: StateDict = {}
    records: list[BaselineRoundRecord] = []
    if checkpoint := store.load_latest(config["rounds"]):
        adapter.set_adapter_state(peft_model, checkpoint.adapter_state)
        optimizer_state, records = checkpoint.server_state, checkpoint.history
    schedule = baseline.iterate_rounds([len(rows) for rows in datasets])
    for scheduled in iterate_with_bar(schedule, "round", config["rounds"]):
        number = scheduled.round
        if number <= len(records):
            continue
        record = BaselineRoundRecord(round=number, learning_rate=scheduled.learning_rate)
        if scheduled.steps:
            record = _train_round(
                baseline, scheduled, peft_model, tokenizer, dataset, optimizer_state
            )
        records.append(record)
        state = adapter.get_adapter_state(peft_model)
        store.save(Checkpoint(number, state, records, optimizer_state))
        logger.info(_format_round(record, config["rounds"]))

    provenance = read_artifact(model / "provenance.json", Provenance)
    base_model_name = provenance.get_repository(default=model.name)
    save_adapter(
        adapter.get_adapter_state(peft_model),
        lora,
        base_model_name,
        adapter_dir,
        rank,
        adapter.get_excluded_modules(peft_model),
    )
    clients = names if client is None else [names[client]]
    result = BaselineHistory(
        clients=clients,
        device=device,
        base_dtype=training.base_dtype,
        rank=rank,
        rounds=records,
    )
    write_artifact(history, result)


def _train_round(
    baseline: Baseline,
    scheduled: ScheduledRound,
    model: Any,
    tokenizer: Any,
    dataset: Dataset,
    optimizer_state: StateDict,
) -> BaselineRoundRecord:
    """Train one round; update the adapter and the optimizer state in place."""
    start = time.perf_counter()
    training, number = baseline.training, scheduled.round
    objective = LocalObjective(
        optimizer_state=optimizer_state or None,
        return_optimizer_state=training.optimizer_state == "kept",
    )
    seed = derive_training_seed(baseline.config["seed"], baseline.seed_purpose, number)
    result = train_scheduled_round(
        model, tokenizer, dataset, training.arguments, scheduled, seed, objective
    )
    optimizer_state.update(result.optimizer_state)
    return BaselineRoundRecord(
        round=number,
        learning_rate=scheduled.learning_rate,
        train_loss=round(result.loss, 6),
        **result.counts,
        seconds=round(time.perf_counter() - start, 3),
    )


def _build_identity(
    baseline: Baseline, rank: int, model: Path, preprocessed: Path, device: str
) -> dict[str, Any]:
    """Return everything that a round's result depends on, as JSON values."""
    config = dict(baseline.config)
    if baseline.training.learning_rate_max == baseline.training.learning_rate_min:
        del config["rounds"]  # no round depends on their number
    manifest = read_artifact(preprocessed / "manifest.json", TokenizedManifest)
    return config | {
        "baseline": baseline.seed_purpose,
        "rank": rank,
        "data": [client.sha256 for client in manifest.clients],
        "model": read_artifact(model / "provenance.json", Provenance).files,
        "device": device,
        "packages": get_package_versions(),
        "code": compute_code_digest("train_baseline"),
    }


def _format_round(record: BaselineRoundRecord, num_rounds: int) -> str:
    loss = "not sampled" if record.train_loss is None else f"training loss {record.train_loss}"
    return f"round {record.round}/{num_rounds}: {loss}, {record.steps} steps"

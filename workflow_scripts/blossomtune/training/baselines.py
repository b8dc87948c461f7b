"""Controls: the same steps as the federation's, without one.

``centralised`` trains one adapter on the rows of all clients, pooled. ``local_<i>`` trains one on
client i's rows alone. In each round of the federation they take the learning rate of that round
and the steps and rows that its clients take then, the centralised one in an order of its own. So
all local controls together, and the centralised one alone, see the federation's rows, in as many
steps.
"""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, concatenate_datasets

from blossomtune import code_dependencies, named_tensors
from blossomtune.config.lora import LoraSettings
from blossomtune.files import read_json, write_json
from blossomtune.modeling.load import load_model
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.package_versions import get_package_versions
from blossomtune.training import adapter, adapter_files
from blossomtune.training.baseline_schedule import Baseline, ScheduledRound
from blossomtune.training.checkpoints import Checkpoint, CheckpointStore
from blossomtune.training.ranks import resolve_client_ranks
from blossomtune.training.schedule import derive_training_seed
from blossomtune.training.sft_config import build_sft_config
from blossomtune.training.trainer import LocalObjective, train_adapter


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
    config, training = baseline.config, baseline.training
    lora = LoraSettings.model_validate(config["lora"])
    names = [client["name"] for client in read_json(partition / "manifest.json")["clients"]]
    rank = (
        lora.r
        if baseline.client is None
        else resolve_client_ranks(lora, partition, names)[baseline.client]
    )
    pieces = [Dataset.from_file(str(preprocessed / f"client_{i}.arrow")) for i in range(len(names))]
    mine = concatenate_datasets(pieces) if baseline.client is None else pieces[baseline.client]
    torch.set_num_threads(config["threads"])
    device = "cuda" if config["gpu"] and torch.cuda.is_available() else "cpu"
    base = load_model(model, quantization=training.quantization, device=device)
    tokenizer = load_tokenizer(model)
    adapted = adapter.build_peft_model(base, lora, config["seed"], rank)

    kept = CheckpointStore(
        checkpoints, _build_identity(baseline, rank, model, preprocessed, device)
    )
    optimizer: named_tensors.StateDict = {}
    records: list[dict[str, Any]] = []
    if done := kept.load_latest(config["rounds"]):
        adapter.set_adapter_state(adapted, done.adapter_state)
        optimizer, records = done.server_state, done.history
    for turn in baseline.iterate_rounds([len(piece) for piece in pieces]):
        if turn.round <= len(records):
            continue
        record = {"round": turn.round, "learning_rate": turn.learning_rate, "train_loss": None}
        record |= {"steps": 0, "examples": 0, "tokens": 0, "seconds": 0.0}
        if turn.steps:
            record |= _train_round(baseline, turn, adapted, tokenizer, mine, optimizer)
        records.append(record)
        kept.save(Checkpoint(turn.round, adapter.get_adapter_state(adapted), records, optimizer))
        print(_format_round(record, config["rounds"]), flush=True)

    name = read_json(model / "provenance.json")["source"].get("repo") or model.name
    adapter_files.save_adapter(adapter.get_adapter_state(adapted), lora, name, adapter_dir, rank)
    clients = names if baseline.client is None else [names[baseline.client]]
    write_json(history, {"clients": clients, "device": device, "rank": rank, "rounds": records})


def _train_round(
    baseline: Baseline,
    baseline_round: ScheduledRound,
    model: Any,
    tokenizer: Any,
    rows: Dataset,
    optimizer: named_tensors.StateDict,
) -> dict[str, Any]:
    """One round: the adapter and the state of its optimizer change in place."""
    started = time.perf_counter()
    training, seed = baseline.training, baseline.config["seed"]
    with tempfile.TemporaryDirectory() as scratch:
        config = build_sft_config(
            training.arguments,
            learning_rate=baseline_round.learning_rate,
            max_steps=baseline_round.steps,
            seed=derive_training_seed(seed, baseline.seed_purpose, baseline_round.round),
            use_cpu=model.device.type == "cpu",
            output_dir=Path(scratch),
        )
        local = LocalObjective(
            optimizer_state=optimizer or None,
            return_optimizer_state=training.optimizer_state == "kept",
        )
        trained = train_adapter(
            model, tokenizer, rows.select(baseline_round.row_indices), config, local
        )
    if local.return_optimizer_state:
        optimizer.update(trained.optimizer_state)
    return {
        "train_loss": round(trained.loss, 6),
        **trained.counts,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _build_identity(
    baseline: Baseline, rank: int, model: Path, preprocessed: Path, device: str
) -> dict[str, Any]:
    """Everything that a round's result depends on, as plain JSON values.

    The number of rounds is part of it only where the learning rate of a round depends on it.
    """
    told = dict(baseline.config)
    if baseline.training.learning_rate_max == baseline.training.learning_rate_min:
        del told["rounds"]
    clients = read_json(preprocessed / "manifest.json")["clients"]
    return told | {
        "baseline": baseline.seed_purpose,
        "rank": rank,
        "data": [client["sha256"] for client in clients],
        "model": read_json(model / "provenance.json")["files"],
        "device": device,
        "packages": get_package_versions(),
        "code": code_dependencies.compute_code_digest("train_baseline"),
    }


def _format_round(record: Mapping[str, Any], num_rounds: int) -> str:
    loss = "not taken" if record["train_loss"] is None else f"training loss {record['train_loss']}"
    return f"round {record['round']}/{num_rounds}: {loss}, {record['steps']} steps"

"""Estimate what federate and train_baseline need."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.plan import MemoryPart, StageNeeds
from blossomtune.artifacts.provenance import Provenance
from blossomtune.errors import UserError
from blossomtune.planning.experiment import PlannedExperiment
from blossomtune.planning.machine import get_process_memory
from blossomtune.planning.measure_step import MeasuredStep
from blossomtune.planning.model_memory import (
    ModelMemory,
    estimate_scoring_memory,
    estimate_training_memory,
)

logger = logging.getLogger(__name__)

GPU_CONTEXT_BYTES = 500 * 2**20
"""Memory of CUDA itself per process; an assumption, which has not been measured here."""

ENGINE_BYTES = 400 * 2**20
"""Main memory of Ray's own processes."""

SERVER_ADAPTERS = 4
"""Adapters in the server's memory, whatever the number of clients."""

SERVER_EVAL_BATCH_SIZE = 16
"""Rows per forward pass of the server's evaluation."""


def estimate_client_memory(
    experiment: PlannedExperiment, rows: Sequence[Mapping[str, Any]] | None = None
) -> ModelMemory:
    """Estimate the memory of a client that trains, at the highest rank.

    Args:
        experiment: The experiment.
        rows: Rows of a batch; by default those with the most tokens.

    Returns:
        The memory.
    """
    spec = experiment.run.spec
    try:
        memory = estimate_training_memory(
            experiment.model_dir,
            spec.lora,
            max(client.rank for client in spec.clients),
            spec.training.arguments,
            rows or experiment.training_rows,
            dtype=experiment.base_dtype,
            quantization=spec.training.quantization,
        )
    except UserError:
        raise
    except Exception as error:  # an operation that FakeTensors do not have
        memory = _estimate_weights(experiment, experiment.base_dtype, error)
    return memory.on_gpu() if experiment.uses_gpu else memory


def estimate_scoring(
    experiment: PlannedExperiment,
    rows: Sequence[Mapping[str, Any]],
    dtype: torch.dtype,
    *,
    copies_logits: bool = False,
) -> ModelMemory:
    """Estimate the memory of scoring rows; that of the weights alone where it is unknown.

    Args:
        experiment: The experiment.
        rows: Tokenized rows of one batch, with labels.
        dtype: Type of the weights.
        copies_logits: Whether logits in float32, too, are copied, as log-probabilities.

    Returns:
        The memory.
    """
    try:
        return estimate_scoring_memory(
            experiment.model_dir, rows, dtype=dtype, copies_logits=copies_logits
        )
    except Exception as error:  # an operation that FakeTensors do not have
        return _estimate_weights(experiment, dtype, error)


def _estimate_weights(
    experiment: PlannedExperiment, dtype: torch.dtype, error: Exception
) -> ModelMemory:
    """Return the memory of the weights alone, and warn that the rest is unknown."""
    logger.warning(
        "%s: the memory of activations is unknown, figures are too small: %s",
        experiment.name,
        error,
    )
    provenance = read_artifact(experiment.model_dir / "provenance.json", Provenance)
    return ModelMemory(weights=provenance.parameters * dtype.itemsize, adapter=0, activations=0)


def list_model_parts(memory: ModelMemory, count: int) -> list[MemoryPart]:
    """Return the parts of a model's memory that are not empty.

    Args:
        memory: Memory of one model.
        count: Number of models.

    Returns:
        The parts.
    """
    parts = {
        "base weights": memory.weights,
        "adapter and optimizer": memory.adapter,
        "activations": memory.activations,
        "fragmentation": memory.fragments,
    }
    return [MemoryPart(part=k, size=v, count=count) for k, v in parts.items() if v and count]


def _add_processes(
    memory: ModelMemory, count: int, step: MeasuredStep | None, per_gpu: int
) -> tuple[list[MemoryPart], list[MemoryPart]]:
    """Return the parts of main memory and of one GPU's memory of training processes."""
    if step:
        ram = [MemoryPart(part="training process", size=step.ram, count=count)]
        context = MemoryPart(part="CUDA", size=GPU_CONTEXT_BYTES, count=per_gpu)
        gpu = [context, MemoryPart(part="training", size=step.gpu, count=per_gpu)]
        return ram, gpu if per_gpu else []
    process = MemoryPart(part="Python and its libraries", size=get_process_memory(), count=count)
    if not per_gpu:
        return [process, *list_model_parts(memory, count)], []
    # weights pass through the main memory while they are loaded
    loading = MemoryPart(part="base weights while loading", size=memory.weights, count=count)
    context = MemoryPart(part="CUDA", size=GPU_CONTEXT_BYTES, count=per_gpu)
    return [process, loading], [context, *list_model_parts(memory, per_gpu)]


def estimate_federate(
    experiment: PlannedExperiment, memory: ModelMemory, step: MeasuredStep | None
) -> StageNeeds:
    """Estimate what federate needs: all clients that train at once, the server and the engine.

    Args:
        experiment: The experiment.
        memory: Memory of a client.
        step: Measured step of a client, if there is one.

    Returns:
        The needs.
    """
    spec = experiment.run.spec
    federation, workers = spec.federation, experiment.count_workers()
    per_gpu = 0
    if experiment.uses_gpu:
        per_gpu = -(-workers * experiment.gpus_per_client // experiment.num_gpus)
        memory = memory.spread(experiment.gpus_per_client)
    ram, gpu = _add_processes(memory, workers, step, per_gpu) if workers else ([], [])
    adapter_bytes = 4 * memory.adapter_parameters
    sampled = federation.count_sampled_clients(len(spec.clients))
    ram.append(MemoryPart(part="server", size=get_process_memory()))
    ram.append(MemoryPart(part="adapters on the server", size=adapter_bytes, count=SERVER_ADAPTERS))
    if federation.evaluate_rows:
        rows = experiment.select_test_rows(SERVER_EVAL_BATCH_SIZE)
        scoring = estimate_scoring(experiment, rows, experiment.base_dtype)
        part = "the server's evaluation"
        ram.append(MemoryPart(part=part, size=scoring.total))
    if federation.engine.name == "simulation":
        ram.append(MemoryPart(part="Ray", size=ENGINE_BYTES))
    kept = federation.keep_checkpoints + 1
    disk = adapter_bytes * (1 + 2 * kept + sampled)  # replies of a round are spooled
    if spec.has_client_state:
        disk += kept * len(spec.clients) * 2 * adapter_bytes
    turns = -(-sampled // workers) if workers else 0
    steps = federation.rounds * turns * experiment.count_round_steps() if workers else 0
    return StageNeeds(
        stage="federate",
        block=experiment.name,
        ram=tuple(ram),
        gpu=tuple(gpu),
        disk=disk,
        seconds=_bound_seconds(experiment, steps, step) if step and steps else None,
        basis="measured" if step else "estimated",
    )


def estimate_baseline(
    experiment: PlannedExperiment, memory: ModelMemory, step: MeasuredStep | None
) -> StageNeeds:
    """Estimate what each of the baselines needs; the time is that of all, one after another.

    Args:
        experiment: The experiment.
        memory: Memory of a client.
        step: Measured step of a client, if there is one.

    Returns:
        The needs.
    """
    spec, baselines = experiment.run.spec, experiment.baselines
    if experiment.uses_gpu:
        memory = memory.spread(experiment.gpus_per_client)
    ram, gpu = _add_processes(memory, 1, step, int(experiment.uses_gpu))
    sampled = spec.federation.count_sampled_clients(len(spec.clients))
    steps = spec.federation.rounds * sampled * experiment.count_round_steps()
    count = int(baselines.centralised) + int(baselines.local)  # all local ones take these steps
    return StageNeeds(
        stage="train_baseline",
        block=experiment.name,
        ram=tuple(ram),
        gpu=tuple(gpu),
        disk=4 * memory.adapter_parameters,
        seconds=_bound_seconds(experiment, steps * count, step) if step else None,
        basis="measured" if step else "estimated",
    )


def _bound_seconds(
    experiment: PlannedExperiment, num_steps: int, step: MeasuredStep
) -> tuple[float, float]:
    """Return least and most seconds: steps of average rows, and steps of the longest ones."""
    most = num_steps * step.seconds
    return most * min(1.0, compute_mean_share(experiment)), most


def compute_mean_share(experiment: PlannedExperiment) -> float:
    """Return the tokens of an average training row, as a share of those of the longest rows."""
    rows, clients = experiment.training_rows, experiment.manifest.clients
    longest = sum(len(row["input_ids"]) for row in rows) / len(rows)
    mean = sum(c.tokens for c in clients) / sum(c.num_examples for c in clients)
    return mean / longest

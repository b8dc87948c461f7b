"""Find the keys whose change would save most memory of training."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from blossomtune.planning.experiment import PlannedExperiment
from blossomtune.planning.model_memory import ModelMemory
from blossomtune.planning.training_needs import estimate_client_memory

ARGUMENTS = "training.arguments"


def rank_hints(
    experiment: PlannedExperiment, memory: ModelMemory, per_client: int, *, on_gpu: bool = False
) -> list[str]:
    """Return the changes of the configuration that save memory, the largest saving first.

    Args:
        experiment: The experiment.
        memory: Memory of a client with the configuration as it is.
        per_client: Clients that share the memory.
        on_gpu: Whether the memory is that of a GPU.

    Returns:
        One text per change, with the bytes that it saves.
    """
    if not memory.activations:  # they could not be estimated
        return []
    savings = {
        text: (memory.total - changed.total) * per_client
        for text, changed in _try_changes(experiment, memory)
    }
    if per_client > 1:
        key = "federation.gpus_per_client: 1" if on_gpu else _get_one_worker_hint(experiment)
        savings[f"{key}, so that one client trains at a time"] = memory.total * (per_client - 1)
    useful = sorted((item for item in savings.items() if item[1] > 0), key=lambda item: -item[1])
    return [f"{text} (saves about {saved / 1e9:.1f} GB)" for text, saved in useful]


def _get_one_worker_hint(experiment: PlannedExperiment) -> str:
    if experiment.run.spec.federation.engine.name != "simulation":
        return "federation.engine: simulation"
    return f"federation.threads_per_client: {experiment.cores}"


def _try_changes(
    experiment: PlannedExperiment, memory: ModelMemory
) -> Iterator[tuple[str, ModelMemory]]:
    """Yield changes of single keys, and a client's memory with each."""
    training, lora = experiment.run.spec.training, experiment.run.spec.lora
    arguments, rows = training.arguments, experiment.training_rows
    batch_size = arguments.get("per_device_train_batch_size", 8)
    if batch_size > 1:
        half = batch_size // 2
        changed = estimate_client_memory(experiment, rows[:half])
        yield f"{ARGUMENTS}.per_device_train_batch_size: {half}", changed
    if not arguments.get("gradient_checkpointing"):
        changed = _estimate_with(
            experiment, "training", arguments=arguments | {"gradient_checkpointing": True}
        )
        yield f"{ARGUMENTS}.gradient_checkpointing: true", changed
    longest = max(len(row["input_ids"]) for row in rows)
    if longest > 1:
        shorter = [_shorten(row, longest // 2) for row in rows]
        yield (
            f"preprocessing.max_length: {longest // 2}",
            estimate_client_memory(experiment, shorter),
        )
    if training.quantization == "none":
        if getattr(training, "base_dtype", None) == "float32":
            changed = _estimate_with(experiment, "training", base_dtype="bfloat16")
            yield "training.base_dtype: bfloat16", changed
        changed = _estimate_with(experiment, "training", quantization="4bit")
        yield "training.quantization: 4bit", changed
    if lora.r > 1 and lora.ranks is None:
        smaller = replace(memory, adapter=memory.adapter // 2)
        yield f"lora.r: {lora.r // 2}", smaller


def _shorten(row: dict[str, Any], length: int) -> dict[str, Any]:
    """Return the last tokens of a row, which have the completion."""
    ids, labels = row["input_ids"][-length:], row["labels"][-length:]
    packed = {"seq_lengths": [len(ids)]} if row.get("seq_lengths") else {}
    return {"input_ids": ids, "labels": labels, **packed}


def _estimate_with(experiment: PlannedExperiment, block: str, **values: Any) -> ModelMemory:
    """Estimate a client's memory with other values of a block's keys."""
    spec = experiment.run.spec
    changed = spec.model_copy(update={block: getattr(spec, block).model_copy(update=values)})
    copy = replace(experiment)
    vars(copy)["run"] = experiment.run.model_copy(update={"spec": changed})
    return estimate_client_memory(copy)

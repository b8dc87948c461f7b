"""Estimate the memory of a model that trains, or that scores rows, from its config.json."""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from blossomtune.config.lora import LoraSettings
from blossomtune.modeling.loss import collate, completion_nll, model_inputs
from blossomtune.planning.allocations import count_allocations
from blossomtune.planning.fake_model import (
    add_meta_adapter,
    build_meta_model,
    replace_meta_tensors,
)

Rows = Sequence[Mapping[str, Any]]

OPTIMIZER_VALUES = {"sgd": 0, "adafactor": 0, "adagrad": 1, "rmsprop": 1}
"""Values of the optimizer's state per trained parameter; all others have two, as Adam."""

CPU_FRAGMENTATION = 0.6
"""Memory of a CPU process beyond its tensors, per byte of activations without checkpointing.

Measured with and without checkpointing (tests/benchmarks/bench_plan.py). The presumable cause:
glibc before 2.38 rarely reuses a freed block for another aligned one of its size.
"""

QUANTIZED_BYTES = {"8bit": 1.0, "4bit": 0.516}
"""Bytes per weight: LLM.int8(), and NF4 with double quantization (arXiv 2305.14314)."""


@dataclass(frozen=True)
class ModelMemory:
    """Memory of a model in bytes.

    Attributes:
        weights: Base weights.
        adapter: Adapter, its gradient and its optimizer's state.
        activations: Most memory of a forward and a backward pass besides them.
        fragments: Memory that is lost to fragmentation on a CPU.
        adapter_parameters: Number of trained parameters.
    """

    weights: int
    adapter: int
    activations: int
    fragments: int = 0
    adapter_parameters: int = 0

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return self.weights + self.adapter + self.activations + self.fragments

    def on_gpu(self) -> "ModelMemory":
        """Return the memory on a GPU, whose allocator reuses blocks."""
        return replace(self, fragments=0)

    def spread(self, num_gpus: int) -> "ModelMemory":
        """Return the memory on one of several GPUs; all of the activations may be on one."""
        return replace(self, weights=self.weights // num_gpus, adapter=self.adapter // num_gpus)


def estimate_training_memory(
    directory: Path,
    lora: LoraSettings,
    rank: int,
    arguments: Mapping[str, Any],
    rows: Rows,
    *,
    dtype: torch.dtype = torch.float32,
    quantization: Literal["none", "8bit", "4bit"] = "none",
) -> ModelMemory:
    """Estimate the memory of a training step by a forward and a backward pass without data.

    Args:
        directory: Model directory in Hugging Face's layout; only config.json is read.
        lora: The experiment's LoRA settings.
        rank: Rank of the adapter.
        arguments: The configuration's ``training.arguments``.
        rows: Tokenized rows of one batch.
        dtype: Type of base weights that are not quantized.
        quantization: Quantization of the base weights.

    Returns:
        The memory.
    """
    model = add_meta_adapter(build_meta_model(directory, dtype), lora, rank)
    quantized = QUANTIZED_BYTES.get(quantization)
    saved = 0 if quantized is None else _count_saved_bytes(model, quantized)
    num_trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    built, plain = _count_step(model, dict(arguments) | {"gradient_checkpointing": False}, rows)
    activations = plain
    if arguments.get("gradient_checkpointing"):
        model = add_meta_adapter(build_meta_model(directory, dtype), lora, rank)
        built, activations = _count_step(model, arguments, rows)
    state_values = OPTIMIZER_VALUES.get(arguments.get("optim", "adamw"), 2)
    return ModelMemory(
        weights=built - 4 * num_trained - saved,
        # the trainer keeps a copy of the adapter's start, for a second attempt with less memory
        adapter=(3 + state_values) * 4 * num_trained,
        activations=activations,
        fragments=int(CPU_FRAGMENTATION * plain),
        adapter_parameters=num_trained,
    )


def _count_step(model: Any, arguments: Mapping[str, Any], rows: Rows) -> tuple[int, int]:
    """Return the bytes of a model on device ``meta``, and the peak of a step without gradients."""
    with count_allocations() as counter:
        replace_meta_tensors(model)
        built = counter.live
        if arguments["gradient_checkpointing"]:
            options = arguments.get("gradient_checkpointing_kwargs") or {"use_reentrant": False}
            model.gradient_checkpointing_enable(options)
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=bool(arguments.get("bf16")))
        with autocast:
            nll, tokens = completion_nll(model, collate(rows))
            loss = nll.sum() / tokens.sum()
            torch.autograd.backward(loss)
        gradients = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
        del nll, tokens, loss
        peak = counter.peak
    gc.collect()  # modules refer to each other
    return built, max(0, peak - built - gradients)


def estimate_scoring_memory(
    directory: Path,
    rows: Rows,
    *,
    dtype: torch.dtype = torch.float32,
    copies_logits: bool = False,
) -> ModelMemory:
    """Estimate the memory of scoring rows with a key-value cache.

    Args:
        directory: Model directory in Hugging Face's layout; only config.json is read.
        rows: Tokenized rows of one batch, with labels.
        dtype: Type of the weights.
        copies_logits: Whether logits in float32, too, are copied, as log-probabilities.

    Returns:
        The memory.
    """
    model = build_meta_model(directory, dtype)
    width = max(sum(label >= 0 for label in row["labels"]) for row in rows)
    with count_allocations() as counter, torch.no_grad():
        replace_meta_tensors(model)
        built = counter.live
        batch = collate(rows)
        output = model(**model_inputs(model, batch), use_cache=True, logits_to_keep=width)
        scores = output.logits.to(torch.float32, copy=copies_logits)
        peak = counter.peak
    del model, output, scores
    gc.collect()
    return ModelMemory(weights=built, adapter=0, activations=peak - built)


def _count_saved_bytes(model: Any, bytes_per_weight: float) -> int:
    """Return the bytes that quantization saves, in all linear layers but the last."""
    head = model.get_output_embeddings()
    weights = [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and "lora_" not in name
    ]
    return sum(int(w.nbytes - bytes_per_weight * w.numel()) for w in weights)

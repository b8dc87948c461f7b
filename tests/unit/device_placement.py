"""Run the stages on a pretended accelerator, and print what fails as JSON.

A process of its own: autograd starts a thread per device at its first backward pass, and it knows
the pretended device only if it was registered before.
"""

import gc
import json
import sys
import tempfile
import traceback
from pathlib import Path
from unittest import mock

import torch
from code_mutations import describe_move, list_moves, without_move
from datasets import Dataset
from pretended_device import is_pretended, pretended_device
from tiny_architectures import TEXT_MODELS, VISION_MODELS, build_model, save_model

from blossomtune.aggregation.registry import AGGREGATIONS
from blossomtune.aggregation.types import ClientUpdate
from blossomtune.config.lora import LoraSettings, compute_scaling
from blossomtune.evaluation import choice_batch, decoding, prefix_cache
from blossomtune.export import merge
from blossomtune.modeling import (
    attention,
    chunked_nll,
    empty_model,
    eval_loss,
    layer_streaming,
    lm_head,
    load,
    loss,
    merged_layers,
    prefix_sharing,
    weight_reader,
)
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.training import (
    adapter,
    base_updates,
    optimizer_state,
    preflight,
    scaffold,
    trainer,
)
from blossomtune.training.adapter_files import save_adapter
from blossomtune.training.schedule import ScheduledRound

LORA = LoraSettings(r=2, alpha=4, target_modules="all-linear")
END = 2
PROMPTS = [[5, 6, *range(7, 7 + n)] for n in (2, 3, 5, 6)]
ANSWERS = [[[20, END], [21, 22, END]], [[END], [23]], [[24, END], [25]], [[26], [27, 28]]]
ROWS = [
    {"input_ids": [*prompt, 20 + i, END], "labels": [IGNORE_INDEX] * len(prompt) + [20 + i, END]}
    for i, prompt in enumerate(PROMPTS)
]
SHARING = ("llama", "qwen3")
"""Architectures whose rows may share a prefix."""


def build(directory, device, dtype=torch.float32):
    """Return a PEFT model on the device."""
    base = load.load_model(directory, dtype, device=str(device))
    model = adapter.build_peft_model(base, LORA, seed=1)
    check_tensors(model.parameters(), on_device=device != "cpu")
    if directory.name in SHARING and not prefix_sharing.is_supported(model):
        raise AssertionError("no prefix is shared on this device")
    return model


def evaluate(model, directory):
    """Return the loss of the server's evaluation."""
    return [eval_loss.compute_eval_loss(model, ROWS)]


def evaluate_long_rows(model, directory):
    """Return the loss of packed rows, as if they were long and the vocabulary large."""
    packed = {key: [value for row in ROWS for value in row[key]] for key in ("input_ids", "labels")}
    packed["seq_lengths"] = [len(row["input_ids"]) for row in ROWS]
    with (
        mock.patch.object(attention, "DENSE_WIDTH", 4),
        mock.patch.object(loss, "MAX_LOGITS", 300),
    ):
        if not (attention.is_supported(model) and lm_head.is_separable(model)):
            raise AssertionError("long rows are not supported on this device")
        batch, device = loss.collate([packed]), next(model.parameters()).device
        nll, _ = loss.completion_nll(model, {key: v.to(device) for key, v in batch.items()})
        nll.sum().backward()
        model.zero_grad()
        losses = [eval_loss.compute_eval_loss(model, rows) for rows in ([packed], ROWS)]
    return [nll.sum().item(), *losses]


def score(model, directory):
    """Score two answers to each prompt, together and one by one, and generate answers."""
    scorer = prefix_cache.PrefixCacheScorer(model, PROMPTS)
    together, state = scorer.score(PROMPTS, ANSWERS)
    values = together.flatten().tolist()
    if scorer._scores_together:
        scorer._scores_together = False
        separate, state = scorer.score(PROMPTS, ANSWERS)
        values += separate.flatten().tolist()
    generated = decoding.generate_greedy(model, state, END, 4)
    return [*values, *(float(token) for answer in generated for token in answer)]


def aggregate(model, directory):
    """Aggregate two clients' updates of linear layers on the CPU."""
    state = adapter.get_adapter_state(model)
    check_tensors(state.values(), on_device=False)
    linear = {name: value for name, value in state.items() if value.dim() == 2}
    scale = compute_scaling(LORA, LORA.r)
    updates = [ClientUpdate(linear, scale, weight) for weight in (1, 3)]
    for method in AGGREGATIONS.values() if directory.name in SHARING else [AGGREGATIONS["fedavg"]]:
        check_tensors(method(updates, linear, scale).state.values(), on_device=False)
    adapter.set_adapter_state(model, state)
    return []


def merge_logits(model, directory):
    """Return the mean of the logits that merge compares, before and after merging."""
    device, state = next(model.parameters()).device, adapter.get_adapter_state(model)
    excluded = adapter.get_excluded_modules(model)
    with tempfile.TemporaryDirectory() as folder:
        save_adapter(state, LORA, "tiny", Path(folder, "adapter"), exclude_modules=excluded)
        empty = empty_model.build_empty_model(directory, float("nan"))
        weights = weight_reader.WeightReader(directory, empty)
        merged = merged_layers.attach_adapter(empty, Path(folder, "adapter")).to(device)
    with mock.patch.object(merge, "select_device", lambda: device):
        logits = [merge._compute_logits(merged, weights, PROMPTS, merge=m) for m in (False, True)]
    check_tensors(logits, on_device=False)
    return [float(values.mean()) for values in logits]


def train(model, directory, rounds=1):
    """Train a round, and further ones with FedProx, SCAFFOLD and the optimizer's state."""
    tokenizer, rows = load_tokenizer(directory), Dataset.from_list(ROWS)
    scheduled = ScheduledRound(round=1, learning_rate=1e-2, steps=rounds, row_indices=[0, 1, 2, 3])
    objective = trainer.LocalObjective(return_optimizer_state=True)
    losses = []
    for _ in range(rounds):
        arguments = {"per_device_train_batch_size": 4 // rounds}
        result = trainer.train_scheduled_round(
            model, tokenizer, rows, arguments, scheduled, 3, objective
        )
        check_tensors(result.optimizer_state.values(), on_device=False)
        state = adapter.get_adapter_state(model)
        objective = trainer.LocalObjective(
            proximal_mu=0.1,
            scaffold_correction={name: value / 10 for name, value in state.items()},
            optimizer_state=result.optimizer_state,
            return_optimizer_state=True,
        )
        losses.append(result.loss)
    return losses


def train_with_strategies(model, directory):
    """Train with an objective of a strategy."""
    return train(model, directory, rounds=2)


def check_model(model, directory):
    """Run the checks before training."""
    preflight.check_model(model, LORA, packing=False)
    return []


def update_base(model, directory):
    """Add an update to the base weights of one layer, which are bfloat16."""
    state = adapter.get_adapter_state(model)
    model = build(directory, next(model.parameters()).device.type, torch.bfloat16)
    name = min(name for name in state if name.endswith("_proj.lora_A.weight"))
    layer = name.removesuffix(".lora_A.weight")
    updates = base_updates.BaseUpdates(model)
    updates.apply({1: {layer: (state[f"{layer}.lora_B.weight"], state[name])}})
    check_tensors(updates._originals.values(), on_device=False)
    return []


STAGES = (evaluate, score, aggregate, merge_logits, train)
"""Stages for all architectures."""

MORE_STAGES = (evaluate_long_rows, check_model, update_base, train_with_strategies)
"""Stages for Llama, whose results are compared with the CPU's."""

MOVES = {
    load: build,
    prefix_sharing: build,
    loss: evaluate,
    eval_loss: evaluate,
    attention: evaluate_long_rows,
    chunked_nll: evaluate_long_rows,
    lm_head: evaluate_long_rows,
    prefix_cache: score,
    choice_batch: score,
    decoding: score,
    adapter: aggregate,
    merge: merge_logits,
    layer_streaming: merge_logits,
    preflight: check_model,
    base_updates: update_base,
    optimizer_state: train,
    scaffold: train_with_strategies,
}
"""Modules with moves between devices, and the stage that needs each of their moves."""

EXEMPT = (
    "states.device",
    "gradient.device",
    "targets.flatten().to(logits.device)",
    "state.input_ids.device",
    "torch.zeros((1, 0)",
    "torch.zeros((1, len(hidden_states))",
    "self.sources.to(logits.device)",
    "torch.arange(len(targets), device=logits.device)",
)
"""Parts of moves that one card does not need: for a base on several cards, of tensors whose values
are not read, or of indices, which CUDA copies from the CPU."""


def check_tensors(tensors, *, on_device):
    """Raise if a tensor is on the wrong device."""
    if any(is_pretended(tensor) != on_device for tensor in tensors):
        raise AssertionError(f"a tensor is {'not ' if on_device else ''}on the pretended device")


def run_stages(stages, directory, device):
    """Return the results of stages, or why one failed."""
    try:
        model = build(directory, device)
        return [value for stage in stages for value in stage(model, directory)]
    except Exception:
        return traceback.format_exc()


def find_error(stage, model, directory, device):
    """Return the error of a stage; a new model, since models cache what they support."""
    try:
        if stage in (build, evaluate_long_rows):
            model = build(directory, device)
        if stage is not build:
            stage(model, directory)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def main():
    """Run the stages of all architectures, and those of Llama without each move."""
    gc.freeze()  # trainers collect garbage, and what was imported stays
    tokenizer, results = Path(sys.argv[1]), {"architectures": {}, "moves": {}}
    with tempfile.TemporaryDirectory() as home, pretended_device() as device:
        for name in [*TEXT_MODELS, *VISION_MODELS]:
            directory = save_model(build_model(name), Path(home, name), tokenizer)
            results["architectures"][name] = run_stages(STAGES, directory, device)
        llama = Path(home, "llama")
        for name in ("cpu", device):
            results[str(name)] = run_stages((*STAGES, *MORE_STAGES), llama, name)
        model = build(llama, device)
        for module, stage in MOVES.items():
            for index in list_moves(module):
                move = describe_move(module, index)
                if not any(part in move for part in EXEMPT):
                    with without_move(module, index):
                        results["moves"][move] = find_error(stage, model, llama, device)
    print(json.dumps(results))


if __name__ == "__main__":
    main()

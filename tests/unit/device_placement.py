"""Run the stages on a pretended accelerator, and print what fails as JSON.

A process of its own: autograd starts a thread per device at its first backward pass, and it knows
the pretended device only if it was registered before.
"""

import json
import sys
import tempfile
import traceback
from pathlib import Path
from types import ModuleType
from unittest import mock

import torch
from code_mutations import describe_move, list_moves, without_move
from datasets import Dataset
from pretended_device import is_pretended, pretended_device
from tiny_architectures import TEXT_MODELS, VISION_MODELS, build_model, save_model

from blossomtune.aggregation.fedavg import fedavg
from blossomtune.aggregation.registry import AGGREGATIONS
from blossomtune.aggregation.types import ClientUpdate
from blossomtune.config.lora import LoraSettings, compute_scaling
from blossomtune.evaluation import choice_batch, prefix_cache
from blossomtune.modeling import (
    attention,
    chunked_nll,
    eval_loss,
    lm_head,
    load,
    loss,
    prefix_sharing,
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
from blossomtune.training.schedule import ScheduledRound

LORA = LoraSettings(r=2, alpha=4, target_modules="all-linear")
END = 2
PROMPTS = [[5, 6, *range(7, 7 + n)] for n in (2, 3, 5, 6)]
ANSWERS = [[[20, END], [21, 22, END]], [[END], [23]], [[24, END], [25]], [[26], [27, 28]]]
ROWS = [
    {"input_ids": [*prompt, 20 + i, END], "labels": [IGNORE_INDEX] * len(prompt) + [20 + i, END]}
    for i, prompt in enumerate(PROMPTS)
]
ROUND = ScheduledRound(round=1, learning_rate=1e-2, steps=2, row_indices=[0, 1, 2, 3])
SHARING = ("llama", "qwen3")
"""Architectures whose rows may share a prefix."""

MODULES: list[ModuleType] = [
    load,
    loss,
    eval_loss,
    prefix_sharing,
    attention,
    chunked_nll,
    lm_head,
    adapter,
    base_updates,
    choice_batch,
    optimizer_state,
    preflight,
    scaffold,
    prefix_cache,
]
"""Modules with moves between devices, each of which is removed once."""

BETWEEN_CARDS = ("states.device", "gradient.device", "targets.flatten().to(logits.device)")
"""Parts of moves for a base on several cards. The pretended accelerator is one card."""


def run_stages(directory: Path, device: object, rounds: int) -> tuple[list[float], list[list[int]]]:
    """Evaluate, generate, aggregate and train; return losses and answers.

    Training comes last, since it takes longest and few moves need it.
    """
    dtype = torch.bfloat16 if rounds > 1 else torch.float32
    base = load.load_model(directory, dtype, device=str(device))
    if directory.name in SHARING and not prefix_sharing.is_supported(base):
        raise AssertionError("no prefix is shared on this device")
    model = adapter.build_peft_model(base, LORA, seed=1)
    state = adapter.get_adapter_state(model)
    check_tensors(state.values(), on_device=False)
    adapter.set_adapter_state(model, state)
    is_thorough = rounds > 1
    if is_thorough:
        update_base(model, state)
        preflight.check_model(model, LORA, packing=False)
    values = [eval_loss.compute_eval_loss(model, ROWS)]
    if directory.name in SHARING:
        values.append(evaluate_long_rows(model))
    nll, answers = score(model)
    for method in AGGREGATIONS.values() if is_thorough else [fedavg]:
        aggregate(method, state)
    values += train(model, directory, rounds)
    check_tensors(model.parameters(), on_device=str(device) != "cpu")
    return [*values, *nll.flatten().tolist()], answers


def evaluate_long_rows(model: object) -> float:
    """Compute loss and gradient of packed rows, as if they were long and the vocabulary large."""
    packed = {key: [value for row in ROWS for value in row[key]] for key in ("input_ids", "labels")}
    packed["seq_lengths"] = [len(row["input_ids"]) for row in ROWS]
    with (
        mock.patch.object(attention, "DENSE_WIDTH", 4),
        mock.patch.object(loss, "MAX_LOGITS", 300),
    ):
        if not (attention.is_supported(model) and lm_head.is_separable(model)):
            raise AssertionError("long rows are not supported on this device")
        batch = loss.collate([packed])
        device = next(model.parameters()).device
        nll, _ = loss.completion_nll(model, {key: v.to(device) for key, v in batch.items()})
        nll.sum().backward()
        model.zero_grad()
        losses = [eval_loss.compute_eval_loss(model, rows) for rows in ([packed], ROWS)]
    return nll.sum().item() + sum(losses)


def train(model: object, directory: Path, rounds: int) -> list[float]:
    """Train a round, and further ones with FedProx, SCAFFOLD and the optimizer's state."""
    tokenizer, rows = load_tokenizer(directory), Dataset.from_list(ROWS)
    objective = trainer.LocalObjective(return_optimizer_state=True)
    losses = []
    for _ in range(rounds):
        arguments = {"per_device_train_batch_size": 2}
        result = trainer.train_scheduled_round(
            model, tokenizer, rows, arguments, ROUND, 3, objective
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


def score(model: object) -> tuple[torch.Tensor, list[list[int]]]:
    """Score two answers to each prompt, together and one by one, and generate answers."""
    scorer = prefix_cache.PrefixCacheScorer(model, PROMPTS)
    nll, _ = scorer.score(PROMPTS, ANSWERS)
    scorer._scores_together = False
    separate, state = scorer.score(PROMPTS, ANSWERS)
    return torch.stack([nll, separate]), scorer.generate_greedy(state, END, max_new_tokens=4)


def aggregate(method: object, state: dict[str, torch.Tensor]) -> None:
    """Aggregate two clients' updates of linear layers, on the CPU."""
    linear = {name: value for name, value in state.items() if value.dim() == 2}
    scale = compute_scaling(LORA, LORA.r)
    updates = [ClientUpdate(linear, scale, weight) for weight in (1, 3)]
    result = method(updates, linear, scale)
    check_tensors(result.state.values(), on_device=False)


def update_base(model: object, state: dict[str, torch.Tensor]) -> None:
    """Add an update to the base weights of one layer."""
    name = min(name for name in state if name.endswith("_proj.lora_A.weight"))
    layer = name.removesuffix(".lora_A.weight")
    factors = state[f"{layer}.lora_B.weight"], state[f"{layer}.lora_A.weight"]
    updates = base_updates.BaseUpdates(model)
    updates.apply({1: {layer: factors}})
    check_tensors(updates._originals.values(), on_device=False)


def check_tensors(tensors: object, *, on_device: bool) -> None:
    """Raise if a tensor is on the wrong device."""
    if any(is_pretended(tensor) != on_device for tensor in tensors):
        raise AssertionError(f"a tensor is {'not ' if on_device else ''}on the pretended device")


def main() -> None:
    """Run the stages of all architectures, and those of Llama without each move."""
    tokenizer, results = Path(sys.argv[1]), {"architectures": {}, "moves": {}}
    with tempfile.TemporaryDirectory() as home, pretended_device() as device:
        for name in [*TEXT_MODELS, *VISION_MODELS]:
            directory = save_model(build_model(name), Path(home, name), tokenizer)
            try:
                results["architectures"][name] = run_stages(directory, device, rounds=1)
            except Exception:
                results["architectures"][name] = traceback.format_exc()
        llama = Path(home, "llama")
        results["cpu"], results["device"] = (run_stages(llama, d, 2) for d in ("cpu", device))
        for module in MODULES:
            for index in list_moves(module):
                move = describe_move(module, index)
                if any(part in move for part in BETWEEN_CARDS):
                    continue
                with without_move(module, index):
                    try:
                        run_stages(llama, device, rounds=2)
                        error = ""
                    except Exception as raised:
                        error = f"{type(raised).__name__}: {raised}".splitlines()[0]
                results["moves"][move] = error
    print(json.dumps(results))


if __name__ == "__main__":
    main()

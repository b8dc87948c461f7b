"""Train an adapter for one round with TRL's SFTTrainer."""

import tempfile
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trl import SFTConfig

from blossomtune.modeling import prefix_sharing
from blossomtune.modeling.loss import collate
from blossomtune.named_tensors import StateDict
from blossomtune.training.adapter import get_trainable_parameters
from blossomtune.training.adopt import Adopt
from blossomtune.training.completion_trainer import CompletionTrainer
from blossomtune.training.fused_adapter import fuse_adapter
from blossomtune.training.fused_norm import fuse_norms
from blossomtune.training.oom_retry import retry_with_smaller_batches
from blossomtune.training.optimizer_state import get_optimizer_state
from blossomtune.training.restore_hooks import restore_hooks
from blossomtune.training.schedule import ScheduledRound
from blossomtune.training.sft_config import build_sft_config


@dataclass(frozen=True)
class LocalObjective:
    """Additions of a federated strategy to plain training.

    Attributes:
        proximal_mu: Weight of FedProx's term, relative to the adapter at the start of the round.
        scaffold_correction: SCAFFOLD's c − c_i, by the names of trained adapter tensors.
        optimizer_state: State from an earlier round, or None for a new optimizer.
        return_optimizer_state: Whether to return the optimizer's state.
    """

    proximal_mu: float = 0.0
    scaffold_correction: StateDict | None = None
    optimizer_state: StateDict | None = None
    return_optimizer_state: bool = False


@dataclass(frozen=True)
class TrainResult:
    """Result of a round, besides the adapter.

    Attributes:
        loss: Mean over the steps, in nats per completion token, without the strategy's terms.
        counts: Number of ``examples``, ``tokens`` and ``steps``.
        batch_size: Examples per forward pass.
        optimizer_state: State by ``get_optimizer_state``, empty unless requested.
    """

    loss: float
    counts: dict[str, int]
    batch_size: int
    optimizer_state: StateDict


def train_scheduled_round(
    model: Any,
    tokenizer: Any,
    dataset: Any,
    arguments: Mapping[str, Any],
    scheduled: ScheduledRound,
    seed: int,
    objective: LocalObjective,
) -> TrainResult:
    """Train the adapter of a PEFT model as scheduled, in place.

    Args:
        model: PEFT model.
        tokenizer: The model's tokenizer.
        dataset: ``datasets.Dataset`` with all rows of the client.
        arguments: The configuration's ``training.arguments``.
        scheduled: Learning rate, steps and rows of the round.
        seed: Seed of dropout and other randomness in training.
        objective: Additions of the federated strategy.

    Returns:
        Loss, counts and optimizer state.
    """
    with tempfile.TemporaryDirectory() as scratch:
        config = build_sft_config(
            arguments,
            learning_rate=scheduled.learning_rate,
            max_steps=scheduled.steps,
            seed=seed,
            use_cpu=model.device.type == "cpu",
            output_dir=Path(scratch),
        )
        rows = dataset.select(scheduled.row_indices)
        return train_adapter(model, tokenizer, rows, config, objective)


def train_adapter(
    model: Any,
    tokenizer: Any,
    dataset: Any,
    config: SFTConfig,
    objective: LocalObjective = LocalObjective(),
) -> TrainResult:
    """Train the adapter of a PEFT model for one round, in place.

    Args:
        model: PEFT model. Hooks and wrappers of the trainer are removed afterwards.
        tokenizer: The model's tokenizer.
        dataset: ``datasets.Dataset`` with input_ids, labels and, if packed, seq_lengths, in
            training order.
        config: Config from ``build_sft_config``.
        objective: Additions of the federated strategy.

    Returns:
        Loss, counts and optimizer state.

    Raises:
        UserError: If memory runs out and batches may not become smaller.
    """
    start = {name: p.detach().clone() for name, p in get_trainable_parameters(model).items()}

    def train(config: SFTConfig) -> TrainResult:
        with restore_hooks(model), fuse_adapter(model), fuse_norms(model):
            return _train_once(model, tokenizer, dataset, config, objective)

    def reset() -> None:
        for name, parameter in get_trainable_parameters(model).items():
            parameter.data.copy_(start[name])

    return retry_with_smaller_batches(train, reset, config)


def _train_once(
    model: Any, tokenizer: Any, dataset: Any, config: SFTConfig, objective: LocalObjective
) -> TrainResult:
    """Train with one batch size. The trainer seeds all random generators by ``config.seed``."""
    config = copy(config)
    config.auto_find_batch_size = False
    adopt_kwargs = {
        "lr": config.learning_rate,
        "betas": (config.adam_beta1, config.adam_beta2),
        "eps": config.adam_epsilon,
    }
    # Rows that share a prefix would share NEFTune's noise, too.
    share_prefix = config.neftune_noise_alpha is None and prefix_sharing.is_supported(model)
    trainer = CompletionTrainer(
        model=model,
        args=config,
        train_dataset=dataset,
        processing_class=tokenizer,
        data_collator=partial(collate, share_prefix=share_prefix),
        optimizer_cls_and_kwargs=(Adopt, adopt_kwargs) if config.optim == "adopt" else None,
        proximal_mu=objective.proximal_mu,
        scaffold_correction=objective.scaffold_correction,
        optimizer_state=objective.optimizer_state,
    )
    loss = trainer.train().training_loss
    state: StateDict = {}
    if objective.return_optimizer_state:
        state = get_optimizer_state(trainer.optimizer, trainer.adapter_parameters)
    counts = {**trainer.counts, "steps": trainer.state.global_step}
    return TrainResult(loss, counts, config.per_device_train_batch_size, state)

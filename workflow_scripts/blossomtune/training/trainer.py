"""Train an adapter for one round with TRL's SFTTrainer."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from blossomtune.modeling import prefix_sharing
from blossomtune.modeling.loss import collate, completion_nll
from blossomtune.modeling.tokenizer import get_pad_token_id
from blossomtune.named_tensors import StateDict
from blossomtune.training.adapter import get_adapter_parameters
from blossomtune.training.adopt import Adopt
from blossomtune.training.fedprox import compute_proximal_term
from blossomtune.training.oom_retry import retry_with_smaller_batches
from blossomtune.training.optimizer_state import get_optimizer_state, set_optimizer_state
from blossomtune.training.restore_hooks import restore_hooks
from blossomtune.training.scaffold import apply_correction


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
        with restore_hooks(model):
            return _train_once(model, tokenizer, dataset, config, objective)

    def reset() -> None:
        for name, parameter in get_trainable_parameters(model).items():
            parameter.data.copy_(start[name])

    return retry_with_smaller_batches(train, reset, config)


def get_trainable_parameters(model: Any) -> dict[str, Parameter]:
    """Return the adapter's parameters that require gradients, by name."""
    return {name: p for name, p in get_adapter_parameters(model).items() if p.requires_grad}


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
        data_collator=partial(
            collate, pad_token_id=get_pad_token_id(tokenizer), share_prefix=share_prefix
        ),
        optimizer_cls_and_kwargs=(Adopt, adopt_kwargs) if config.optim == "adopt" else None,
        objective=objective,
    )
    loss = trainer.train().training_loss
    state: StateDict = {}
    if objective.return_optimizer_state:
        state = get_optimizer_state(trainer.optimizer, trainer.adapter_parameters)
    counts = {**trainer.counts, "steps": trainer.state.global_step}
    return TrainResult(loss, counts, config.per_device_train_batch_size, state)


class CompletionTrainer(SFTTrainer):  # type: ignore[misc] # TRL has no type information
    """SFTTrainer whose loss is the mean over completion tokens, on rows in the given order.

    SFTTrainer also measures entropy and accuracy over the whole vocabulary at each step. This
    class computes the loss only. ``counts`` has the examples and tokens trained on.
    """

    def __init__(
        self, *args: Any, objective: LocalObjective = LocalObjective(), **kwargs: Any
    ) -> None:
        self.local_objective = objective
        self.adapter_parameters = get_trainable_parameters(kwargs["model"])
        values = {name: parameter.data for name, parameter in self.adapter_parameters.items()}
        super().__init__(*args, **kwargs)
        # The model is on its device already, and bitsandbytes' 8-bit layers break on another .to().
        self.accelerator.device_placement = False
        for name, parameter in self.adapter_parameters.items():
            parameter.data = values[name]  # SFTTrainer rounds them if the base is quantized
        self.global_parameters = (
            {name: value.clone() for name, value in values.items()} if objective.proximal_mu else {}
        )
        self.counts = {"examples": 0, "tokens": 0}
        self.remove_callback(PrinterCallback)
        if objective.scaffold_correction:
            self.add_callback(
                _ScaffoldCallback(self.adapter_parameters, objective.scaffold_correction)
            )

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create the optimizer and restore its state from an earlier round, if there is one."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if state := self.local_objective.optimizer_state:
            set_optimizer_state(optimizer, self.adapter_parameters, state)
        return optimizer

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Compute the mean negative log-likelihood of completion tokens.

        Args:
            model: The PEFT model.
            inputs: A batch from ``collate``.
            return_outputs: Whether to return outputs, which are empty, too.
            num_items_in_batch: Completion tokens of the whole optimizer step.

        Returns:
            Scalar loss in nats per token, or a tuple of it and the outputs.
        """
        for key in self.counts:
            self.counts[key] += int(inputs[key].sum())
        nll, tokens = completion_nll(model, inputs)
        total = tokens.sum() if num_items_in_batch is None else num_items_in_batch
        loss = nll.sum() / total
        return (loss, {}) if return_outputs else loss

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Accumulate the gradient of one batch, and FedProx's with the last batch of a step.

        Args:
            *args: As in transformers' Trainer.
            **kwargs: As in transformers' Trainer.

        Returns:
            Loss of the data alone.
        """
        loss: Tensor = super().training_step(*args, **kwargs)
        if (mu := self.local_objective.proximal_mu) and self.accelerator.sync_gradients:
            self.accelerator.backward(
                compute_proximal_term(self.adapter_parameters, self.global_parameters, mu)
            )
        return loss

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # the schedule has chosen the order


class _ScaffoldCallback(TrainerCallback):  # type: ignore[misc] # no type information
    def __init__(self, parameters: Mapping[str, Tensor], correction: StateDict) -> None:
        self.parameters, self.correction = parameters, correction

    def on_optimizer_step(self, args: SFTConfig, *_: Any, **__: Any) -> None:
        apply_correction(self.parameters, self.correction, args.learning_rate)

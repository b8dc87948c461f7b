"""TRL's SFTTrainer, looking at the vocabulary only where there is a label."""

import gc
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from blossomtune.errors import UserError
from blossomtune.modeling import prefix_sharing
from blossomtune.modeling.loss import collate, completion_nll
from blossomtune.modeling.tokenizer import get_pad_token_id
from blossomtune.named_tensors import StateDict
from blossomtune.training import adapter, adopt, oom_retry, optimizer_state, scaffold
from blossomtune.training.restore_hooks import restore_hooks


@dataclass(frozen=True)
class LocalObjective:
    """What a strategy adds to plain training.

    Attributes:
        mu: weight of FedProx's term; its anchor is the adapter as it is when training starts.
        shift: SCAFFOLD's c − c_i, by the names of trained adapter tensors.
        optimizer: ``Trained.optimizer`` of an earlier round; None for a fresh optimizer.
        keep: whether ``Trained.optimizer`` is wanted.
    """

    proximal_mu: float = 0.0
    scaffold_correction: StateDict | None = None
    optimizer_state: StateDict | None = None
    return_optimizer_state: bool = False


@dataclass(frozen=True)
class TrainResult:
    """What came out of a round, besides the adapter.

    Attributes:
        loss: mean over the steps, in nats a completion token, of the data alone.
        seen: how many examples, tokens and steps there were.
        batch_size: examples that were in memory at a time.
        optimizer: its state by ``optimizers.keep``, where that was wanted.
    """

    loss: float
    counts: dict[str, int]
    batch_size: int
    optimizer_state: StateDict


class CompletionTrainer(SFTTrainer):
    """Trains on rows in the order given; the loss is the mean over completion tokens.

    SFTTrainer measures entropy and token accuracy over the whole vocabulary at every step. Here
    the loss is all that is computed. ``seen`` counts what was trained on: rows and tokens.
    """

    def __init__(
        self, *args: Any, objective: LocalObjective = LocalObjective(), **kwargs: Any
    ) -> None:
        self.local_objective = objective
        self.adapter_parameters = get_trainable_parameters(kwargs["model"])
        values = {name: parameter.data for name, parameter in self.adapter_parameters.items()}
        super().__init__(*args, **kwargs)
        # The model is where it belongs; bitsandbytes' 8-bit layers do not outlive another .to().
        self.accelerator.device_placement = False
        for name, parameter in self.adapter_parameters.items():
            parameter.data = values[name]  # SFTTrainer rounds them where the base is quantised
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
        """The optimizer, as an earlier round left it where that is wanted."""
        optimizer = super().create_optimizer(model)
        if self.local_objective.optimizer_state:
            optimizer_state.set_optimizer_state(
                optimizer, self.adapter_parameters, self.local_objective.optimizer_state
            )
        return optimizer

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """A batch's part of the gradient; with the last one of a step FedProx's, too.

        The term is left out of the loss that is returned, which is that of the data.
        """
        loss = super().training_step(*args, **kwargs)
        if self.local_objective.proximal_mu and self.accelerator.sync_gradients:
            away = [
                (p - self.global_parameters[name]).square().sum()
                for name, p in self.adapter_parameters.items()
            ]
            self.accelerator.backward(
                self.local_objective.proximal_mu / 2 * torch.stack(away).sum()
            )
        return loss

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean negative log-likelihood of the completion tokens of one optimizer step."""
        for what in self.counts:
            self.counts[what] += int(inputs[what].sum())
        nll, tokens = completion_nll(model, inputs)
        total = tokens.sum() if num_items_in_batch is None else num_items_in_batch
        loss = nll.sum() / total
        return (loss, {}) if return_outputs else loss

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # the order is decided by the plan


class _ScaffoldCallback(TrainerCallback):
    def __init__(self, parameters: Mapping[str, Tensor], correction: StateDict) -> None:
        self.parameters, self.correction = parameters, correction

    def on_optimizer_step(self, args: SFTConfig, *_: Any, **__: Any) -> None:
        scaffold.apply_correction(self.parameters, self.correction, args.learning_rate)


def get_trainable_parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters that are trained, by name."""
    return {name: p for name, p in adapter.get_adapter_parameters(model).items() if p.requires_grad}


def train_adapter(
    model: Any,
    tokenizer: Any,
    dataset: Any,
    config: SFTConfig,
    objective: LocalObjective = LocalObjective(),
) -> TrainResult:
    """Runs the steps of one round.

    With ``auto_find_batch_size``, a round that runs out of memory starts again with smaller
    batches and as many more of them in a step: it becomes what it would have been with these.
    (transformers' own way goes on with smaller steps.)

    Args:
        model: a PEFT model; its adapter is trained in place.
        tokenizer: the model's tokenizer.
        rows: a ``datasets.Dataset`` with input_ids, labels and, if packed, seq_lengths, in the
            order to train in.
        config: what ``arguments`` returned.
        local: what the strategy adds.

    Raises:
        UserError: where memory runs out all the same.
    """
    start = {name: p.detach().clone() for name, p in get_trainable_parameters(model).items()}
    while True:
        try:
            with restore_hooks(model):
                return _train_once(model, tokenizer, dataset, config, objective)
        except (RuntimeError, MemoryError) as error:
            if not oom_retry.is_out_of_memory_error(error):
                raise
            less = oom_retry.reduce_batch_size(config) if config.auto_find_batch_size else None
            if less is None:
                raise UserError(
                    f"out of memory with {config.per_device_train_batch_size} examples at a time",
                    "training.arguments.auto_find_batch_size and gradient_checkpointing need less",
                ) from error
        # Only here, outside of ``except``, what the failed attempt held is free.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        config = less
        for name, parameter in get_trainable_parameters(model).items():
            parameter.data.copy_(start[name])


def _train_once(
    model: Any, tokenizer: Any, dataset: Any, config: SFTConfig, objective: LocalObjective
) -> TrainResult:
    own = copy(config)
    own.auto_find_batch_size = False
    adopt_kwargs = {
        "lr": config.learning_rate,
        "betas": (config.adam_beta1, config.adam_beta2),
        "eps": config.adam_epsilon,
    }
    # NEFTune's noise is drawn for each row
    share = config.neftune_noise_alpha is None and prefix_sharing.is_supported(model)
    trainer = CompletionTrainer(
        model=model,
        args=own,
        train_dataset=dataset,
        processing_class=tokenizer,
        data_collator=partial(
            collate, pad_token_id=get_pad_token_id(tokenizer), share_prefix=share
        ),
        optimizer_cls_and_kwargs=(adopt.Adopt, adopt_kwargs) if config.optim == "adopt" else None,
        objective=objective,
    )  # it sets all random generators by config.seed
    loss = trainer.train().training_loss
    return TrainResult(
        loss=loss,
        counts={**trainer.counts, "steps": trainer.state.global_step},
        batch_size=config.per_device_train_batch_size,
        optimizer_state=optimizer_state.get_optimizer_state(
            trainer.optimizer, trainer.adapter_parameters
        )
        if objective.return_optimizer_state
        else {},
    )

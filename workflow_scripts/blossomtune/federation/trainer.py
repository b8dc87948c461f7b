"""TRL's SFTTrainer, looking at the vocabulary only where there is a label."""

import gc
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from blossomtune import sharing
from blossomtune.encoding import pad_id
from blossomtune.errors import UserError
from blossomtune.federation import adapter, fitting, optimizers, scaffold
from blossomtune.federation.adapter import State
from blossomtune.federation.leftovers import as_it_was
from blossomtune.modeling import collate, completion_nll

# Unlike SFTConfig's own: what a client on a CPU wants, and what keeps a run reproducible.
DEFAULTS = {"bf16": False, "gradient_checkpointing": False}

ADOPT = {"adam_beta2": 0.9999, "adam_epsilon": 1e-6}
"""Where the paper's values for ADOPT are not Adam's."""


@dataclass(frozen=True)
class Local:
    """What a strategy adds to plain training.

    Attributes:
        mu: weight of FedProx's term; its anchor is the adapter as it is when training starts.
        shift: SCAFFOLD's c − c_i, by the names of trained adapter tensors.
        optimizer: ``Trained.optimizer`` of an earlier round; None for a fresh optimizer.
        keep: whether ``Trained.optimizer`` is wanted.
    """

    mu: float = 0.0
    shift: State | None = None
    optimizer: State | None = None
    keep: bool = False


@dataclass(frozen=True)
class Trained:
    """What came out of a round, besides the adapter.

    Attributes:
        loss: mean over the steps, in nats a completion token, of the data alone.
        seen: how many examples, tokens and steps there were.
        batch_size: examples that were in memory at a time.
        optimizer: its state by ``optimizers.keep``, where that was wanted.
    """

    loss: float
    seen: dict[str, int]
    batch_size: int
    optimizer: State


class CompletionTrainer(SFTTrainer):
    """Trains on rows in the order given; the loss is the mean over completion tokens.

    SFTTrainer measures entropy and token accuracy over the whole vocabulary at every step. Here
    the loss is all that is computed. ``seen`` counts what was trained on: rows and tokens.
    """

    def __init__(self, *args: Any, local: Local = Local(), **kwargs: Any) -> None:
        self.local = local
        self.living = trained(kwargs["model"])
        values = {name: parameter.data for name, parameter in self.living.items()}
        super().__init__(*args, **kwargs)
        # The model is where it belongs; bitsandbytes' 8-bit layers do not outlive another .to().
        self.accelerator.device_placement = False
        for name, parameter in self.living.items():
            parameter.data = values[name]  # SFTTrainer rounds them where the base is quantised
        self.anchor = {name: value.clone() for name, value in values.items()} if local.mu else {}
        self.seen = {"examples": 0, "tokens": 0}
        self.remove_callback(PrinterCallback)
        if local.shift:
            self.add_callback(_Scaffold(self.living, local.shift))

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer, as an earlier round left it where that is wanted."""
        optimizer = super().create_optimizer(model)
        if self.local.optimizer:
            optimizers.restore(optimizer, self.living, self.local.optimizer)
        return optimizer

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """A batch's part of the gradient; with the last one of a step FedProx's, too.

        The term is left out of the loss that is returned, which is that of the data.
        """
        loss = super().training_step(*args, **kwargs)
        if self.local.mu and self.accelerator.sync_gradients:
            away = [(p - self.anchor[name]).square().sum() for name, p in self.living.items()]
            self.accelerator.backward(self.local.mu / 2 * torch.stack(away).sum())
        return loss

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean negative log-likelihood of the completion tokens of one optimizer step."""
        for what in self.seen:
            self.seen[what] += int(inputs[what].sum())
        nll, tokens = completion_nll(model, inputs)
        total = tokens.sum() if num_items_in_batch is None else num_items_in_batch
        loss = nll.sum() / total
        return (loss, {}) if return_outputs else loss

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # the order is decided by the plan


class _Scaffold(TrainerCallback):
    def __init__(self, living: Mapping[str, Tensor], shift: State) -> None:
        self.living, self.shift = living, shift

    def on_optimizer_step(self, args: SFTConfig, *_: Any, **__: Any) -> None:
        scaffold.correct(self.living, self.shift, args.learning_rate)


def arguments(
    chosen: Mapping[str, Any], *, learning_rate: float, steps: int, seed: int, cpu: bool, to: Path
) -> SFTConfig:
    """SFTConfig of one round on one client; its ``optim`` may be adopt.

    Args:
        chosen: the configuration's ``training.arguments``.
        learning_rate: of this round.
        steps: optimizer steps.
        seed: of dropout and the like.
        cpu: whether to stay off a GPU.
        to: a directory for what the trainer insists on writing.

    Raises:
        UserError: where SFTConfig refuses a value.
    """
    adopt = chosen.get("optim") == "adopt"
    fixed = {
        "output_dir": str(to),
        "learning_rate": learning_rate,
        "lr_scheduler_type": "constant",
        "max_steps": steps,
        "seed": seed,
        "use_cpu": cpu,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,
        "router_aux_loss_coef": 0.0,  # experts' balance: no part of the loss here
    }
    if adopt:
        fixed["optim"] = "sgd"  # SFTConfig knows its own names only
    try:
        config = SFTConfig(**(DEFAULTS | (ADOPT if adopt else {}) | dict(chosen) | fixed))
    except (TypeError, ValueError) as error:
        raise UserError(f"training.arguments: {error}") from error
    if adopt:
        config.optim = "adopt"
    if config.n_gpu > 1:  # several would each take a whole batch, and a step mean more rows
        config._n_gpu = 1
    return config


def trained(model: Any) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters that are trained, by name."""
    return {name: p for name, p in adapter.parameters(model).items() if p.requires_grad}


def train(
    model: Any, tokenizer: Any, rows: Any, config: SFTConfig, local: Local = Local()
) -> Trained:
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
    start = {name: p.detach().clone() for name, p in trained(model).items()}
    while True:
        try:
            with as_it_was(model):
                return _train(model, tokenizer, rows, config, local)
        except (RuntimeError, MemoryError) as error:
            if not fitting.out_of_memory(error):
                raise
            less = fitting.smaller(config) if config.auto_find_batch_size else None
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
        for name, parameter in trained(model).items():
            parameter.data.copy_(start[name])


def _train(model: Any, tokenizer: Any, rows: Any, config: SFTConfig, local: Local) -> Trained:
    own = copy(config)
    own.auto_find_batch_size = False
    adopt = {
        "lr": config.learning_rate,
        "betas": (config.adam_beta1, config.adam_beta2),
        "eps": config.adam_epsilon,
    }
    # NEFTune's noise is drawn for each row
    share = config.neftune_noise_alpha is None and sharing.sound(model)
    trainer = CompletionTrainer(
        model=model,
        args=own,
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=partial(collate, pad=pad_id(tokenizer), share=share),
        optimizer_cls_and_kwargs=(optimizers.Adopt, adopt) if config.optim == "adopt" else None,
        local=local,
    )  # it sets all random generators by config.seed
    loss = trainer.train().training_loss
    return Trained(
        loss=loss,
        seen={**trainer.seen, "steps": trainer.state.global_step},
        batch_size=config.per_device_train_batch_size,
        optimizer=optimizers.keep(trainer.optimizer, trainer.living) if local.keep else {},
    )

"""TRL's SFTTrainer, looking at the vocabulary only where there is a label."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from blossomtune.encoding import pad_id
from blossomtune.errors import UserError
from blossomtune.modeling import collate, completion_nll

# Unlike SFTConfig's own: what a client on a CPU wants, and what keeps a run reproducible.
DEFAULTS = {"bf16": False, "gradient_checkpointing": False}


class CompletionTrainer(SFTTrainer):
    """Trains on rows in the order given; the loss is the mean over completion tokens.

    SFTTrainer measures entropy and token accuracy over the whole vocabulary at every step. Here
    the loss is all that is computed. ``seen`` counts what was trained on: rows and tokens.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen = {"examples": 0, "tokens": 0}

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
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


def arguments(
    chosen: Mapping[str, Any], *, learning_rate: float, steps: int, seed: int, cpu: bool, to: Path
) -> SFTConfig:
    """SFTConfig of one round on one client.

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
    }
    try:
        return SFTConfig(**(DEFAULTS | dict(chosen) | fixed))
    except (TypeError, ValueError) as error:
        raise UserError(f"training.arguments: {error}") from error


def train(model: Any, tokenizer: Any, rows: Any, config: SFTConfig) -> tuple[float, dict[str, int]]:
    """Runs the steps of one round.

    Args:
        model: a PEFT model; its adapter is trained in place.
        tokenizer: the model's tokenizer.
        rows: a ``datasets.Dataset`` with input_ids, labels and, if packed, seq_lengths, in the
            order to train in.
        config: what ``arguments`` returned.

    Returns:
        ``(loss, seen)``: the mean loss of the steps in nats a token, and how many examples,
        tokens and steps there were.
    """
    trainer = CompletionTrainer(
        model=model,
        args=config,
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=partial(collate, pad=pad_id(tokenizer)),
    )
    trainer.remove_callback(PrinterCallback)
    try:
        loss = trainer.train().training_loss
    finally:
        # SFTTrainer wraps the base model's forward; without this the wraps pile up over rounds.
        vars(model.get_base_model()).pop("forward", None)
    return loss, {**trainer.seen, "steps": trainer.state.global_step}

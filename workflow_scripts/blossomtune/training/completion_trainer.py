"""TRL's SFTTrainer with the loss of completion tokens and terms of federated strategies."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, TrainerCallback

from blossomtune.hidden_modules import hide_modules
from blossomtune.modeling.loss import completion_nll
from blossomtune.named_tensors import StateDict
from blossomtune.training.adapter import get_trainable_parameters
from blossomtune.training.fedprox import compute_proximal_term
from blossomtune.training.optimizer_state import set_optimizer_state
from blossomtune.training.scaffold import apply_correction

with hide_modules("wandb"):  # TRL only asks for a page's address, and loading it takes 0.7 s
    from trl import SFTConfig, SFTTrainer


class CompletionTrainer(SFTTrainer):  # type: ignore[misc] # TRL has no type information
    """SFTTrainer whose loss is the mean over completion tokens, on rows in their order.

    SFTTrainer also measures entropy and accuracy over the whole vocabulary at each step. This
    class computes the loss only. ``counts`` has the examples and tokens trained on.

    Args:
        *args: As in SFTTrainer.
        proximal_mu: Weight of FedProx's term.
        scaffold_correction: SCAFFOLD's c − c_i, by parameter name, or None.
        optimizer_state: State of an earlier round's optimizer, or None.
        **kwargs: As in SFTTrainer.
    """

    def __init__(
        self,
        *args: Any,
        proximal_mu: float = 0.0,
        scaffold_correction: StateDict | None = None,
        optimizer_state: StateDict | None = None,
        **kwargs: Any,
    ) -> None:
        self.proximal_mu, self.saved_optimizer_state = proximal_mu, optimizer_state
        self.adapter_parameters = get_trainable_parameters(kwargs["model"])
        values = {name: parameter.data for name, parameter in self.adapter_parameters.items()}
        super().__init__(*args, **kwargs)
        # The model is on its device already, and bitsandbytes' 8-bit layers break on another .to().
        self.accelerator.device_placement = False
        for name, parameter in self.adapter_parameters.items():
            parameter.data = values[name]  # SFTTrainer rounds them if the base is quantized
        self.global_parameters = (
            {name: value.clone() for name, value in values.items()} if proximal_mu else {}
        )
        self.counts = {"examples": 0, "tokens": 0}
        self.remove_callback(PrinterCallback)
        if scaffold_correction:
            self.add_callback(_ScaffoldCallback(self.adapter_parameters, scaffold_correction))

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create the optimizer and restore its state from an earlier round, if there is one."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if self.saved_optimizer_state:
            set_optimizer_state(optimizer, self.adapter_parameters, self.saved_optimizer_state)
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
        if self.proximal_mu and self.accelerator.sync_gradients:
            term = compute_proximal_term(
                self.adapter_parameters, self.global_parameters, self.proximal_mu
            )
            self.accelerator.backward(term)
        return loss

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # the schedule has chosen the order


class _ScaffoldCallback(TrainerCallback):  # type: ignore[misc] # no type information
    def __init__(self, parameters: Mapping[str, Tensor], correction: StateDict) -> None:
        self.parameters, self.correction = parameters, correction

    def on_optimizer_step(self, args: SFTConfig, *_: Any, **__: Any) -> None:
        apply_correction(self.parameters, self.correction, args.learning_rate)

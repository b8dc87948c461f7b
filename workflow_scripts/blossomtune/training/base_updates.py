"""Add updates B A to the base weights under an adapter, without losing small ones to rounding."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from blossomtune.aggregation.types import Factors


class BaseUpdates:
    """Updates of one model's base weights, added in the order of their rounds.

    A base in float32 is updated in place. Any other is the original plus the sum of all updates in
    float32, rounded once, so that small updates add up over the rounds. Originals are kept on the
    CPU. Both give the same bits for each sequence of calls.

    Args:
        model: PEFT model whose base has its original weights.

    Attributes:
        rounds: Rounds whose updates are in the weights, in order.
    """

    def __init__(self, model: Any) -> None:
        self.rounds: list[int] = []
        self._model = model
        self._originals: dict[str, Tensor] = {}

    def replace_model(self, model: Any) -> None:
        """Continue with another PEFT model on the same base."""
        self._model = model

    def are_in(self, base_deltas: Mapping[int, Mapping[str, Factors]]) -> bool:
        """Return whether these updates begin with those that have been added."""
        return sorted(base_deltas)[: len(self.rounds)] == self.rounds

    @torch.no_grad()
    def apply(self, base_deltas: Mapping[int, Mapping[str, Factors]]) -> None:
        """Add the updates of new rounds.

        Args:
            base_deltas: All updates so far, factors B (d, r) and A (r, k) by round and layer. The
                first rounds are those that have been added already.
        """
        in_order = sorted(base_deltas)
        new = in_order[len(self.rounds) :]
        for layer in sorted({name for number in new for name in base_deltas[number]}):
            lora_layer = self._model.get_submodule(layer)
            weight = lora_layer.get_base_layer().weight
            total, numbers = weight, new
            if weight.dtype != torch.float32:
                original = self._originals.setdefault(layer, weight.to("cpu", copy=True))
                total, numbers = original.to(weight.device, torch.float32), in_order
            for number in numbers:
                if layer in base_deltas[number]:
                    b, a = base_deltas[number][layer]
                    update = (b @ a).T if lora_layer.fan_in_fan_out else b @ a  # GPT-2: (k, d)
                    total += update.to(weight.device, torch.float32)
            if total is not weight:
                weight.copy_(total)
        self.rounds = in_order

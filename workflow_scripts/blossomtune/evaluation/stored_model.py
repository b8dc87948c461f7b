"""Load the models that are compared: a base model, optionally with an adapter."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from blossomtune.modeling.load import load_model


@dataclass(frozen=True)
class StoredModel:
    """The location of a model.

    Attributes:
        directory: Model directory in Hugging Face's layout.
        adapter: Adapter directory in PEFT's layout, merged when the model is loaded, or None.
    """

    directory: Path
    adapter: Path | None = None

    def load(
        self, dtype: torch.dtype = torch.float32, device: str = "cpu", num_devices: int = 1
    ) -> Any:
        """Load the model. Its weights have the values that those of a stored merged model have.

        Args:
            dtype: Type of the weights.
            device: Type of the device.
            num_devices: Number of GPUs to spread the layers over.

        Returns:
            A transformers model, in evaluation mode.
        """
        model = load_model(self.directory, dtype, device=device, num_devices=num_devices)
        if self.adapter is not None:
            _load_merged_weights(model, self.directory, self.adapter)
        return model


@torch.no_grad()
def _load_merged_weights(model: Any, directory: Path, adapter: Path) -> None:
    """Replace a model's weights by merged ones, one layer after another."""
    from blossomtune.modeling.empty_model import build_empty_model
    from blossomtune.modeling.merged_layers import attach_adapter, iter_merged_layers
    from blossomtune.modeling.weight_reader import WeightReader

    empty = build_empty_model(directory)
    weights = WeightReader(directory, empty)
    parameters = dict(model.named_parameters())
    for layer in iter_merged_layers(attach_adapter(empty, adapter), weights):
        for name, weight in layer.items():
            parameter = parameters[name]
            parameter.data = weight.to(parameter.device, parameter.dtype)

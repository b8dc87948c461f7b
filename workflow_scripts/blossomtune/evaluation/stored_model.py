"""Load the models that are compared: a base model, optionally with an adapter."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from blossomtune.modeling.architecture import get_stored_dtype, load_config
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

    def load(self, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Any:
        """Load the model.

        An adapter is merged in float32 and rounded to the base's stored dtype, as in a merged model
        that is stored. Neither depends on the device.

        Args:
            dtype: Type of the weights.
            device: Device of the weights.

        Returns:
            A transformers model, in evaluation mode.
        """
        if self.adapter is None:
            return load_model(self.directory, dtype, device=device)
        from peft import PeftModel  # imports for seconds; only baselines need it

        stored_dtype = get_stored_dtype(load_config(self.directory))
        model = load_model(self.directory, stored_dtype)
        # without safe_merge, PEFT rounds only the sum of weight and float32 update
        merged = PeftModel.from_pretrained(model, self.adapter).merge_and_unload()
        return merged.to(device, dtype).eval()

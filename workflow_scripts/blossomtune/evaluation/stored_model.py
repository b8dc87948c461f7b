"""Load the models that are compared: a base model, optionally with an adapter."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def load(self) -> Any:
        """Load the model in float32 on the CPU.

        Merged weights are first rounded to the base's dtype, as those of a stored merged model are.
        """
        model = load_model(self.directory)
        if self.adapter is None:
            return model
        from peft import PeftModel  # imports for seconds; only baselines need it

        dtype = get_stored_dtype(load_config(self.directory))
        merged = PeftModel.from_pretrained(model, self.adapter).merge_and_unload()
        return merged.to(dtype).float().eval()

"""The models that are compared: a base, with or without an adapter."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from blossomtune.modeling.load import load_model


@dataclass(frozen=True)
class StoredModel:
    """Where a model lies.

    Attributes:
        directory: a Hugging Face directory.
        adapter: in PEFT's layout, to be merged in memory, or None.
    """

    directory: Path
    adapter: Path | None = None

    def load(self) -> Any:
        """The model in float32 on the CPU.

        Merged weights are rounded to the base's own precision first, as those of a merged model
        that was stored are: no model has more of it than another.
        """
        model = load_model(self.directory)
        if self.adapter is None:
            return model
        from peft import PeftModel  # seconds that nobody without controls need wait

        config = AutoConfig.from_pretrained(self.directory, local_files_only=True)
        merged = PeftModel.from_pretrained(model, self.adapter).merge_and_unload()
        return merged.to(config.dtype or torch.float32).float().eval()

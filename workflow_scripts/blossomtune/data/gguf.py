"""GGUF files, in which small models often travel, as plain Hugging Face directories."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def convert_gguf(file: Path, folder: Path) -> None:
    """Writes a GGUF model as config.json, model.safetensors and tokenizer files.

    The weights become float32: what quantisation left of them, at a precision that training can
    start from.

    Args:
        file: the GGUF file.
        folder: where to write.
    """
    place, name = str(file.parent), file.name
    model = AutoModelForCausalLM.from_pretrained(
        place,
        gguf_file=name,
        quantization_config=GgufConfig(dequantize=True),  # else it refuses to be saved
        dtype=torch.float32,
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(place, gguf_file=name).save_pretrained(folder)

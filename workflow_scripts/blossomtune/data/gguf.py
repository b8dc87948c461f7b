"""Conversion of GGUF models to Hugging Face directories."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def convert_gguf(file: Path, folder: Path) -> None:
    """Write a GGUF model as config.json, model.safetensors and tokenizer files.

    Quantized weights are dequantized to float32, so that they can be trained.

    Args:
        file: the GGUF file.
        folder: the folder to write to.
    """
    directory, name = str(file.parent), file.name
    model = AutoModelForCausalLM.from_pretrained(
        directory,
        gguf_file=name,
        quantization_config=GgufConfig(dequantize=True),  # quantized, it cannot be saved
        dtype=torch.float32,
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(directory, gguf_file=name).save_pretrained(folder)

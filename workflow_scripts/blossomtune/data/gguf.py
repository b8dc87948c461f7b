"""Conversion of GGUF models to Hugging Face directories."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from blossomtune.data.gguf_tokenizer import load_gguf_tokenizer
from blossomtune.errors import UserError


def convert_gguf(file: Path, folder: Path) -> None:
    """Write a GGUF model as config.json, model.safetensors and tokenizer files.

    Quantized weights are dequantized to float32, so that they can be trained.

    Args:
        file: the GGUF file.
        folder: the folder to write to.

    Raises:
        UserError: if the tokenizer cannot be kept as the file describes it.
    """
    tokenizer = load_gguf_tokenizer(file)
    model = AutoModelForCausalLM.from_pretrained(
        str(file.parent),
        gguf_file=file.name,
        quantization_config=GgufConfig(dequantize=True),  # quantized, it cannot be saved
        dtype=torch.float32,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    saved = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if type(saved) is not type(tokenizer):  # a class of one model sets its own pre-tokenizer
        raise UserError(
            f"{file.name}: transformers reads every tokenizer of {model.config.model_type} models "
            f"as {type(saved).__name__}, which splits text in another way than this file's",
            "choose another model",
        )

"""Models, tokenizers and the loss on the completion, the same for training and evaluation."""

from logging import ERROR, getLogger
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

_BITSANDBYTES_ARGUMENTS = {
    "8bit": {"load_in_8bit": True},
    "4bit": {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_compute_dtype": torch.bfloat16,
        "bnb_4bit_use_double_quant": True,
    },
}


def load_model(
    directory: Path,
    dtype: torch.dtype = torch.float32,
    quantization: Literal["none", "8bit", "4bit"] = "none",
    device: str = "cpu",
) -> Any:
    """The causal language model of a directory, in evaluation mode; safetensors only.

    Quantised are the weights of linear layers but the last; all others have ``dtype``. In float32
    nothing is left to do for training an adapter of what peft's ``prepare_model_for_kbit_training``
    does.

    Args:
        directory: in Hugging Face's layout.
        dtype: of weights that are not quantised.
        quantization: 8bit as in LLM.int8() (arXiv 2208.07339), 4bit as in QLoRA: NF4, computing in
            bfloat16, with double quantisation (arXiv 2305.14314).
        device: ``cpu`` or ``cuda``.
    """
    quantized = {}
    if quantization != "none":
        quantized = {
            "quantization_config": BitsAndBytesConfig(**_BITSANDBYTES_ARGUMENTS[quantization]),
            "device_map": {"": device},
        }
    model = AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=dtype,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        **quantized,
    )
    for module in model.modules():
        # On some CPUs bitsandbytes packs 4-bit weights anew when a model is only looked at; they do
        # not come back as they were, and let no gradient through.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return (model if quantized else model.to(device)).eval()

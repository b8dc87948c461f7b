"""Load causal language models, optionally with quantized weights."""

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, BitsAndBytesConfig

from blossomtune.modeling import attention
from blossomtune.modeling.architecture import is_multimodal, load_config
from blossomtune.modeling.devices import require_dtype
from blossomtune.modeling.placement import build_device_map, compute_weight_bytes, require_on_gpus

_BITSANDBYTES_ARGUMENTS: dict[str, dict[str, Any]] = {
    "8bit": {"load_in_8bit": True},
    "4bit": {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
    },
}


def get_auto_class(config: Any) -> Any:
    """Return the class that loads the models of a configuration."""
    return AutoModelForImageTextToText if is_multimodal(config) else AutoModelForCausalLM


def parse_dtype(name: str) -> torch.dtype:
    """Return PyTorch's data type of a name such as ``bfloat16``."""
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def load_model(
    directory: Path,
    dtype: torch.dtype = torch.float32,
    quantization: Literal["none", "8bit", "4bit"] = "none",
    device: str = "cpu",
    num_devices: int = 1,
) -> Any:
    """Load the causal language model of a directory, in evaluation mode, from safetensors only.

    A model that also reads images is loaded as a whole, so that merging keeps all of it.

    Quantization applies to linear layers except the last. PEFT's
    ``prepare_model_for_kbit_training``, which makes all other weights float32, is not needed.

    Args:
        directory: Model directory in Hugging Face's layout.
        dtype: Type of weights that are not quantized.
        quantization: 8bit is LLM.int8() (arXiv 2208.07339). 4bit is QLoRA's (arXiv 2305.14314):
            NF4 with double quantization, computing in bfloat16, or in float16 if ``dtype`` is.
        device: Type of the device.
        num_devices: Number of GPUs to spread the layers over.

    Returns:
        A transformers model.

    Raises:
        UserError: If the device has no numbers of this type, or too little memory.
    """
    require_dtype(dtype, torch.device(device))
    weight_bytes = compute_weight_bytes(directory, dtype, quantization)
    placement = build_device_map(weight_bytes, torch.device(device), num_devices)
    arguments = placement if "max_memory" in placement else {}
    if quantization != "none":
        compute_dtype = torch.float16 if dtype == torch.float16 else torch.bfloat16
        config = BitsAndBytesConfig(
            bnb_4bit_compute_dtype=compute_dtype, **_BITSANDBYTES_ARGUMENTS[quantization]
        )
        arguments = placement | {"quantization_config": config}
    model = get_auto_class(load_config(directory)).from_pretrained(
        directory,
        dtype=dtype,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        **arguments,
    )
    if "max_memory" in arguments:
        require_on_gpus(model.hf_device_map)
    for module in model.modules():
        # bitsandbytes would repack 4-bit weights on some CPUs: lossy, and without a gradient
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    attention.enable(model)
    return (model if arguments else model.to(device)).eval()

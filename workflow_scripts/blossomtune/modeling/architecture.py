"""Read from a model's configuration what its architecture supports."""

import inspect
from pathlib import Path
from typing import Any

from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
)

from blossomtune.errors import UserError

WINDOW_ATTRIBUTES = (
    "sliding_window",
    "sliding_window_size",
    "window_size",
    "attention_window",
    "attention_window_size",
    "attention_chunk_size",
    "keep_window_size",
)
"""Names of the configuration key for the size of an attention window."""

_WINDOW_LAYERS = {"sliding_attention", "chunked_attention"}
_ATTENTION_LAYERS = {"full_attention", *_WINDOW_LAYERS}
_MLP_LAYERS = {"mlp", "moe", "dense", "sparse"}


def load_config(directory: Path) -> Any:
    """Return the transformers configuration of a model directory."""
    return AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)


def get_base_model(model: Any) -> Any:
    """Return the transformers model without PEFT's wrapper, if it has one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def is_multimodal(config: Any) -> bool:
    """Return whether the language model is one part of a model that also reads images."""
    is_composite = config.get_text_config() is not config
    return is_composite and type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING


def get_model_class(config: Any) -> Any:
    """Return the model class of a configuration, or None if it is no decoder of text."""
    is_composite = is_multimodal(config)
    mapping = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING if is_composite else MODEL_FOR_CAUSAL_LM_MAPPING
    return mapping.get(type(config), None)


def list_layer_types(config: Any) -> set[str]:
    """Return the kinds of layers that mix tokens, by their names in transformers."""
    config = config.get_text_config()
    if layer_types := getattr(config, "layer_types", None):
        return set(layer_types) - _MLP_LAYERS
    has_window = any(getattr(config, name, None) for name in WINDOW_ATTRIBUTES)
    return {"sliding_attention"} if has_window else {"full_attention"}


def get_attention_window(config: Any) -> int | None:
    """Return the number of tokens in the smallest attention window, or None without windows."""
    if not list_layer_types(config) & _WINDOW_LAYERS:
        return None
    config = config.get_text_config()
    sizes = [getattr(config, name, None) for name in WINDOW_ATTRIBUTES]
    return min((size for size in sizes if size), default=None)


def require_trainable(directory: Path) -> None:
    """Reject a model that cannot be trained, or whose adapter cannot be merged.

    Args:
        directory: Model directory in Hugging Face's layout.

    Raises:
        UserError: If the model is quantized, or not a language model that transformers has.
    """
    try:
        config = load_config(directory)
    except (OSError, ValueError) as error:
        raise UserError(f"the model's config.json cannot be read: {error}") from None
    if get_model_class(config) is None:
        raise UserError(
            f"the model is no causal language model: config.json has model_type "
            f"{config.model_type!r}",
            "choose a model that generates text",
        )
    if quantization := getattr(config, "quantization_config", None):
        method = dict(quantization).get("quant_method", "unknown")
        raise UserError(
            f"the model's weights are quantized ({method}), and an adapter cannot be merged into "
            "them",
            "use the model with its original weights; training.quantization quantizes them while "
            "training",
        )


def find_packing_obstacle(config: Any, max_length: int) -> str | None:
    """Return why rows in one sequence would not have the losses that they have alone.

    Rows are separated by a mask of the attention and by their positions. Other layers read neither.
    The mask replaces that of an attention window, which a row must therefore fit into.

    Args:
        config: A transformers configuration.
        max_length: Maximum number of tokens per sequence.

    Returns:
        The reason, or None if packing is exact.
    """
    model_class, others = get_model_class(config), list_layer_types(config) - _ATTENTION_LAYERS
    if others or getattr(model_class, "_is_stateful", False):
        kinds = f" ({', '.join(sorted(others))})" if others else ""
        return f"its layers{kinds} mix tokens of neighbouring rows"
    if "position_ids" not in inspect.signature(model_class.forward).parameters:
        return "it computes positions itself, and would count on from one row to the next"
    window = get_attention_window(config)
    if window is not None and window < max_length:
        return f"its attention window of {window} tokens is shorter than max_length ({max_length})"
    return None


def require_packing_support(directory: Path, max_length: int) -> None:
    """Reject a model that would learn something else from packed rows.

    Args:
        directory: Model directory in Hugging Face's layout.
        max_length: Maximum number of tokens per sequence.

    Raises:
        UserError: If a row's loss would depend on the rows beside it.
    """
    config = load_config(directory)
    if obstacle := find_packing_obstacle(config, max_length):
        fits = "max_length" in obstacle
        raise UserError(
            f"packing: {get_model_class(config).__name__} cannot train on several rows in one "
            f"sequence: {obstacle}",
            "use packing: false" + (", or a smaller max_length" if fits else ""),
        )

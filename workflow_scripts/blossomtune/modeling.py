"""Models, tokenizers and the loss on the completion, the same for training and evaluation."""

from collections.abc import Mapping, Sequence
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.utils import logging

from blossomtune import sharing
from blossomtune.encoding import IGNORED

logging.disable_progress_bar()  # a log keeps every frame of one


_QUANTIZED = {
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
        # With 8 bit it says at each layer of each step that inputs are rounded to float16.
        getLogger("bitsandbytes.autograd._functions").setLevel(ERROR)
        quantized = {
            "quantization_config": BitsAndBytesConfig(**_QUANTIZED[quantization]),
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


def collate(
    rows: Sequence[Mapping[str, Sequence[int]]], pad: int, share: bool = False
) -> dict[str, Tensor]:
    """A batch, padded on the left so that all completions end at the right edge.

    That lets ``completion_nll`` ask for few logits. Positions count from each example's first
    token, so padding changes nothing. In a packed row every example is as good as alone: it sees
    itself only.

    Args:
        rows: B mappings with ``input_ids``; for training ``labels``; if packed, ``seq_lengths``
            of the examples in it.
        pad: the id to pad with.
        share: whether rows that begin alike may become one, see ``sharing``; then B is 1.

    Returns:
        Tensors of B rows and the width W of the longest: input_ids, position_ids (B, W) int64;
        attention_mask (B, W) int64, or segments (B, W) int64 where a row holds several examples,
        see ``sharing.mask``; labels (B, W) where the rows have them, ``IGNORED`` at each example's
        first token, which nothing predicts; examples and tokens, (B,) int64: how many a row holds.
    """
    if share and (shared := sharing.beginning(rows)):
        return sharing.together(rows, shared)
    lengths = [list(row.get("seq_lengths") or [len(row["input_ids"])]) for row in rows]
    width = max(sum(each) for each in lengths)

    def left(values: Sequence[Sequence[int]], fill: int) -> Tensor:
        return torch.tensor([[fill] * (width - len(v)) + list(v) for v in values])

    positions = left([[i for n in each for i in range(n)] for each in lengths], 0)
    # 1, 2, … for the examples of a row; padding sees padding, or it would become NaN
    segments = left([[k for k, n in enumerate(each, 1) for _ in range(n)] for each in lengths], -1)
    batch = {
        "input_ids": left([row["input_ids"] for row in rows], pad),
        "attention_mask": (segments > 0).long(),
        "position_ids": positions,
        "examples": torch.tensor([len(each) for each in lengths]),
        "tokens": torch.tensor([sum(each) for each in lengths]),
    }
    if "labels" in rows[0]:
        first = (positions == 0) & (segments > 0)
        labels = left([row["labels"] for row in rows], IGNORED)
        batch["labels"] = labels.masked_fill(first, IGNORED)
    if "seq_lengths" in rows[0]:
        del batch["attention_mask"]
        batch["segments"] = segments
    return batch


def read(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What of a batch a model reads."""
    several = batch.get("segments")
    mask = batch["attention_mask"] if several is None else sharing.mask(several)
    return {
        "input_ids": batch["input_ids"],
        "attention_mask": mask,
        "position_ids": batch["position_ids"],
    }


def completion_nll(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of each row's completion, in nats.

    Vocabulary-wide logits are computed only at positions that predict a label in some row.

    Args:
        model: a causal language model, with or without an adapter.
        batch: what ``collate`` returned.

    Returns:
        ``(nll, tokens)``, both of shape (B,): the sum over a row's labelled tokens, in float32,
        and how many there are.
    """
    labels = batch["labels"]
    at = (labels[:, 1:] != IGNORED).any(dim=0).nonzero()[:, 0]  # the first is never predicted
    logits = model(**read(batch), use_cache=False, logits_to_keep=at).logits
    wanted = labels[:, at + 1]  # a token is predicted at the position before it
    counted = wanted != IGNORED
    # One row a labelled token: over a strided (B, vocabulary, tokens) view this is far slower.
    each = torch.nn.functional.cross_entropy(
        logits[counted].float(), wanted[counted], reduction="none"
    )
    nll = torch.zeros(wanted.shape, device=each.device).masked_scatter(counted, each)
    return nll.sum(dim=1), counted.sum(dim=1)

"""Models, tokenizers and the loss on the completion, the same for training and evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from blossomtune.encoding import IGNORED

logging.disable_progress_bar()  # a log keeps every frame of one


def load_model(directory: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The causal language model of a directory, in evaluation mode on the CPU; safetensors only."""
    model = AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=dtype,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    return model.eval()


def collate(rows: Sequence[Mapping[str, Sequence[int]]], pad: int) -> dict[str, Tensor]:
    """A batch, padded on the left so that all completions end at the right edge.

    That lets ``completion_nll`` ask for the last few logits only. Positions count from each
    row's first token, so padding changes nothing.

    Args:
        rows: B mappings with ``input_ids`` and, for training, ``labels``.
        pad: the id to pad with.

    Returns:
        int64 tensors of shape (B, longest row): input_ids, attention_mask, position_ids, and
        labels where the rows have them.
    """
    width = max(len(row["input_ids"]) for row in rows)

    def left(key: str, fill: int) -> Tensor:
        return torch.tensor([[fill] * (width - len(row[key])) + list(row[key]) for row in rows])

    mask = torch.tensor(
        [[0] * (width - len(r["input_ids"])) + [1] * len(r["input_ids"]) for r in rows]
    )
    batch = {
        "input_ids": left("input_ids", pad),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0),
    }
    if "labels" in rows[0]:
        batch["labels"] = left("labels", IGNORED)
    return batch


def completion_nll(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of each row's completion, in nats.

    Of the vocabulary-wide logits only those from the first labelled token on are computed.

    Args:
        model: a causal language model, with or without an adapter.
        batch: what ``collate`` returned.

    Returns:
        ``(nll, tokens)``, both of shape (B,): the sum over a row's labelled tokens, in float32,
        and how many there are.
    """
    labels = batch["labels"]
    inputs = {k: v for k, v in batch.items() if k != "labels"}
    first = int((labels != IGNORED).any(dim=0).int().argmax())
    keep = labels.shape[1] - first + 1  # a token is predicted at the position before it
    logits = model(**inputs, use_cache=False, logits_to_keep=keep).logits[:, :-1]
    wanted = labels[:, -logits.shape[1] :]  # the first token of all is never predicted
    counted = wanted != IGNORED
    # One row a labelled token: over a strided (B, vocabulary, tokens) view this is far slower.
    each = torch.nn.functional.cross_entropy(
        logits[counted].float(), wanted[counted], reduction="none"
    )
    nll = torch.zeros(wanted.shape, device=each.device).masked_scatter(counted, each)
    return nll.sum(dim=1), counted.sum(dim=1)

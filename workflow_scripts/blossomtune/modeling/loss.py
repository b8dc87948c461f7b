"""TODO docstring."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blossomtune.modeling import prefix_sharing
from blossomtune.modeling.encoding import IGNORE_INDEX


def collate(
    rows: Sequence[Mapping[str, Sequence[int]]], pad_token_id: int, share_prefix: bool = False
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
    if share_prefix and (shared := prefix_sharing.choose_prefix_length(rows)):
        return prefix_sharing.pack(rows, shared)
    lengths = [list(row.get("seq_lengths") or [len(row["input_ids"])]) for row in rows]
    width = max(sum(each) for each in lengths)

    def left(values: Sequence[Sequence[int]], fill: int) -> Tensor:
        return torch.tensor([[fill] * (width - len(v)) + list(v) for v in values])

    positions = left([[i for n in each for i in range(n)] for each in lengths], 0)
    # 1, 2, … for the examples of a row; padding sees padding, or it would become NaN
    segments = left([[k for k, n in enumerate(each, 1) for _ in range(n)] for each in lengths], -1)
    batch = {
        "input_ids": left([row["input_ids"] for row in rows], pad_token_id),
        "attention_mask": (segments > 0).long(),
        "position_ids": positions,
        "examples": torch.tensor([len(each) for each in lengths]),
        "tokens": torch.tensor([sum(each) for each in lengths]),
    }
    if "labels" in rows[0]:
        first = (positions == 0) & (segments > 0)
        labels = left([row["labels"] for row in rows], IGNORE_INDEX)
        batch["labels"] = labels.masked_fill(first, IGNORE_INDEX)
    if "seq_lengths" in rows[0]:
        del batch["attention_mask"]
        batch["segments"] = segments
    return batch


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What of a batch a model reads."""
    several = batch.get("segments")
    mask = (
        batch["attention_mask"] if several is None else prefix_sharing.build_attention_mask(several)
    )
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
    at = (labels[:, 1:] != IGNORE_INDEX).any(dim=0).nonzero()[:, 0]  # the first is never predicted
    logits = model(**model_inputs(batch), use_cache=False, logits_to_keep=at).logits
    wanted = labels[:, at + 1]  # a token is predicted at the position before it
    counted = wanted != IGNORE_INDEX
    # One row a labelled token: over a strided (B, vocabulary, tokens) view this is far slower.
    each = torch.nn.functional.cross_entropy(
        logits[counted].float(), wanted[counted], reduction="none"
    )
    nll = torch.zeros(wanted.shape, device=each.device).masked_scatter(counted, each)
    return nll.sum(dim=1), counted.sum(dim=1)

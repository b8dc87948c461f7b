"""Collate tokenized rows and compute the loss of completions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from blossomtune.modeling import attention, lm_head, prefix_sharing
from blossomtune.modeling.chunked_nll import MAX_LOGITS, compute_chunked_nll
from blossomtune.modeling.encoding import IGNORE_INDEX, PAD_TOKEN_ID


def collate(
    rows: Sequence[Mapping[str, Sequence[int]]],
    pad_token_id: int = PAD_TOKEN_ID,
    share_prefix: bool = False,
) -> dict[str, Tensor]:
    """Return a batch, padded on the left so that all completions end at the last position.

    So ``completion_nll`` needs few logits. Positions count from each example's first token, so
    padding has no effect. In a packed row, every example attends to itself only.

    Args:
        rows: B mappings with ``input_ids``; for training, ``labels``; for packed rows,
            ``seq_lengths`` of the examples.
        pad_token_id: Id to pad with.
        share_prefix: Merge rows with a common prefix into one where that is cheaper (see
            ``prefix_sharing``); B is then 1.

    Returns:
        Tensors of B rows and the width W of the longest:
        input_ids and position_ids, (B, W) int64;
        attention_mask, (B, W) int64, or for rows of several examples segments, (B, W) int64 (see
        ``attention.build_segment_mask``);
        labels, (B, W) int64, if the rows have them, ``IGNORE_INDEX`` at each example's first token;
        examples and tokens, (B,) int64: their number per row.
    """
    if share_prefix and (prefix_length := prefix_sharing.choose_prefix_length(rows)):
        return prefix_sharing.pack(rows, prefix_length)
    lengths = [list(row.get("seq_lengths") or [len(row["input_ids"])]) for row in rows]
    width = max(map(sum, lengths))

    def pad_left(values: Sequence[Sequence[int]], fill: int) -> Tensor:
        return torch.tensor([[fill] * (width - len(v)) + list(v) for v in values])

    positions = pad_left([[i for n in row for i in range(n)] for row in lengths], 0)
    # 1, 2, … for the examples of a row; padding attends to padding, or it would become NaN
    segments = pad_left(
        [[k for k, n in enumerate(row, 1) for _ in range(n)] for row in lengths], -1
    )
    batch = {
        "input_ids": pad_left([row["input_ids"] for row in rows], pad_token_id),
        "attention_mask": (segments > 0).long(),
        "position_ids": positions,
        "examples": torch.tensor([len(row) for row in lengths]),
        "tokens": torch.tensor([sum(row) for row in lengths]),
    }
    if "labels" in rows[0]:
        is_first = (positions == 0) & (segments > 0)
        labels = pad_left([row["labels"] for row in rows], IGNORE_INDEX)
        batch["labels"] = labels.masked_fill(is_first, IGNORE_INDEX)
    if "seq_lengths" in rows[0]:
        del batch["attention_mask"]
        batch["segments"] = segments
    return batch


def model_inputs(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the model's forward inputs of a batch from ``collate``.

    Args:
        model: A causal language model, with or without an adapter.
        batch: Batch from ``collate``.

    Returns:
        input_ids, position_ids and attention_mask.
    """
    inputs = {key: batch[key] for key in ("input_ids", "position_ids")}
    if "segments" in batch:
        inputs["attention_mask"] = attention.build_segment_mask(model, batch["segments"])
    else:
        inputs["attention_mask"] = attention.build_padding_mask(model, batch["attention_mask"])
    return inputs


def completion_nll(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihood of each row's completion, in nats.

    Logits are computed only at positions that predict a label in some row, and in chunks if they
    are many.

    Args:
        model: A causal language model, with or without an adapter.
        batch: Batch from ``collate`` with labels.

    Returns:
        ``(nll, tokens)``, both of shape (B,): the sum over a row's labelled tokens (float32), and
        their number (int64).
    """
    targets = batch["labels"][:, 1:]
    is_labelled = targets != IGNORE_INDEX
    # a token is predicted at the position before it, and the first by nothing
    positions = is_labelled.any(dim=0).nonzero()[:, 0]
    inputs = model_inputs(model, batch)
    vocabulary = model.config.get_text_config().vocab_size
    num_logits = len(targets) * len(positions) * vocabulary
    if num_logits > MAX_LOGITS and lm_head.is_separable(model):
        output = lm_head.run_backbone(model, inputs)
        states = output.hidden_states[:, :-1]
        losses = compute_chunked_nll(
            output.compute_logits,
            states[is_labelled.to(states.device)],
            targets[is_labelled],
            max(1, MAX_LOGITS // vocabulary),
        )
    else:
        logits = model(**inputs, use_cache=False, logits_to_keep=positions).logits
        targets, is_labelled = targets[:, positions], is_labelled[:, positions]
        # cross_entropy is far slower on a strided (B, vocabulary, tokens) view
        losses = cross_entropy(logits[is_labelled].float(), targets[is_labelled], reduction="none")
    nll = torch.zeros(targets.shape, device=losses.device).masked_scatter(is_labelled, losses)
    return nll.sum(dim=1), is_labelled.sum(dim=1)

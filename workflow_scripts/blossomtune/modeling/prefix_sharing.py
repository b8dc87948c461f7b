"""Merge rows with a common prefix into one sequence, so that the prefix is computed once.

The suffix of each row attends to the prefix and to itself, at its own positions. Losses and
gradients equal those of separate rows, up to the order of float sums. Prefix Grouper
(arXiv 2506.05433) does this for several answers to one prompt.
"""

import os.path
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from blossomtune.modeling.architecture import get_base_model, list_layer_types
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.segments import PREFIX_SEGMENT

LINEAR_COST = 2048
"""Cost of a token in linear layers, in units of the cost of attending to one token.

A layer of width h multiplies about 12 h² times per token, and 2 h times per token that it attends
to. The ratio is 6 h; this value is for small models.
"""

_SUPPORT_CACHE: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def choose_prefix_length(rows: Sequence[Mapping[str, Sequence[int]]]) -> int:
    """Return the number of prefix tokens to share, 0 if sharing is not cheaper.

    Each row keeps at least one token before its first label, which predicts that label.

    Args:
        rows: Rows with ``input_ids`` and ``labels``; packed rows share nothing.

    Returns:
        Number of tokens, at least 0.
    """
    if "labels" not in rows[0] or "seq_lengths" in rows[0]:
        return 0
    ids = [list(row["input_ids"]) for row in rows]
    common = len(os.path.commonprefix(ids))  # noqa: RUF071 - of lists
    prefix = max(0, min(common, *(_count_leading_unlabeled(row["labels"]) - 1 for row in rows)))
    lengths = [len(row) for row in ids]
    longest, merged = max(lengths), prefix + sum(lengths) - prefix * len(rows)
    is_cheaper = merged * (merged + LINEAR_COST) < len(rows) * longest * (longest + LINEAR_COST)
    return prefix if is_cheaper else 0


def _count_leading_unlabeled(labels: Sequence[int]) -> int:
    """Return the number of tokens before the first label."""
    return next((i for i, label in enumerate(labels) if label != IGNORE_INDEX), len(labels))


def pack(rows: Sequence[Mapping[str, Sequence[int]]], prefix_length: int) -> dict[str, Tensor]:
    """Return a batch with B rows merged into one.

    Args:
        rows: B rows with ``input_ids`` and ``labels``.
        prefix_length: Result of ``choose_prefix_length``, at least 1.

    Returns:
        Batch as from ``loss.collate`` for one packed row of the prefix and all suffixes.
        ``tokens`` counts the prefix once per row.
    """
    lengths = [len(row["input_ids"]) for row in rows]

    def concatenate(prefix: Iterable[int], suffixes: Iterable[Iterable[int]]) -> Tensor:
        return torch.tensor([[*prefix, *chain.from_iterable(suffixes)]])

    def merge(key: str) -> Tensor:
        return concatenate(rows[0][key][:prefix_length], (row[key][prefix_length:] for row in rows))

    return {
        "input_ids": merge("input_ids"),
        "labels": merge("labels"),
        "position_ids": concatenate(
            range(prefix_length), (range(prefix_length, n) for n in lengths)
        ),
        "segments": concatenate(
            [PREFIX_SEGMENT] * prefix_length,
            ([i] * (n - prefix_length) for i, n in enumerate(lengths, 1)),
        ),
        "examples": torch.tensor([len(rows)]),
        "tokens": torch.tensor([sum(lengths)]),
    }


def build_attention_mask(segments: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the mask that is added to attention scores: 0, or the dtype's minimum if masked.

    A token attends to the prefix, and to itself and earlier tokens of its segment. The mask is
    built at the forward pass, since the trainer keeps all batches of a step in memory.

    Args:
        segments: (B, W) int64, segment of each token; ``PREFIX_SEGMENT`` for the prefix.
        dtype: Type of the scores; kernels of GPUs refuse a mask of another one.

    Returns:
        (B, 1, W, W) of the dtype.
    """
    same = segments[:, None, :, None] == segments[:, None, None, :]
    visible = (same | (segments == PREFIX_SEGMENT)[:, None, None, :]).tril()
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)


def is_supported(model: Any) -> bool:
    """Return whether a model computes the same for merged rows as for separate ones.

    Models with dropout, attention windows or recurrent state do not. Others are tested once with a
    few tokens.

    Args:
        model: A causal language model, with or without an adapter.

    Returns:
        Whether ``pack`` may be used.
    """
    has_dropout = getattr(model.config.get_text_config(), "attention_dropout", 0) or any(
        module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)
    )
    if has_dropout or list_layer_types(model.config) != {"full_attention"}:
        return False
    base = get_base_model(model)
    if base not in _SUPPORT_CACHE:
        build_mask = partial(build_attention_mask, dtype=model.dtype)
        _SUPPORT_CACHE[base] = matches_separate_rows(model, build_mask)
    return _SUPPORT_CACHE[base]


@torch.no_grad()
def matches_separate_rows(model: Any, build_mask: Callable[[Tensor], Tensor]) -> bool:
    """Return whether logits of two merged texts equal those of each text alone.

    The error must be far below that of plain concatenation. The model is in training mode, so that
    any randomness shows.

    Args:
        model: A causal language model, with or without an adapter.
        build_mask: Function of the segments of a batch.

    Returns:
        Whether the model reads the mask.
    """
    texts = [[5, 6, 7, 8, 9], [5, 6, 9, 8, 7, 6]]
    rows = [{"input_ids": ids, "labels": [IGNORE_INDEX] * len(ids)} for ids in texts]
    batch = {key: value.to(model.device) for key, value in pack(rows, 2).items()}

    def compute_logits(ids: Any, **arguments: Tensor) -> Tensor:
        input_ids = torch.as_tensor(ids, device=model.device)
        logits: Tensor = model(input_ids=input_ids, use_cache=False, **arguments).logits
        return logits[0].float()

    was_training = model.training
    model.train()
    try:
        with torch.random.fork_rng():
            first, second = (compute_logits([ids]) for ids in texts)
            separate = torch.cat([first, second[2:]])
            mask = build_mask(batch["segments"])
            merged = compute_logits(
                batch["input_ids"], attention_mask=mask, position_ids=batch["position_ids"]
            )
            concatenated = compute_logits(batch["input_ids"])
    except Exception:  # models refuse such a mask or such positions in many ways
        return False
    finally:
        model.train(was_training)
    return bool((merged - separate).norm() < 0.05 * (concatenated - separate).norm())

"""Rows that begin alike, read as one sequence: the beginning once, then what follows it in each.

The rows of a task share their system turn and instruction, often most of their tokens. Every row's
rest sees the beginning and itself, at the positions that it has alone. So losses and gradients are
those of the rows side by side, but for the order of float sums. (Prefix Grouper, arXiv 2506.05433,
does this for the answers to one prompt.)
"""

import os.path
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from blossomtune.modeling.encoding import IGNORE_INDEX

LINEAR_COST = 2048
"""A layer of width h multiplies some 12 h² times for a token, and 2 h times for each token that it
sees. So reading a token costs as much as letting it see 6 h others; this is for small models."""

PREFIX_SEGMENT = 0
"""The segment that all others see."""

WINDOW_ATTRIBUTES = (
    "sliding_window",
    "sliding_window_size",
    "window_size",
    "attention_window",
    "attention_window_size",
    "keep_window_size",
)
"""What models call the number of tokens that they see at most."""

_SUPPORT_CACHE: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def choose_prefix_length(rows: Sequence[Mapping[str, Sequence[int]]]) -> int:
    """Tokens of a beginning that it pays to share; 0 for none.

    At least one token before the first label is left to each row: it predicts that label.

    Args:
        rows: with ``input_ids`` and ``labels``; packed ones share nothing.
    """
    if "labels" not in rows[0] or "seq_lengths" in rows[0]:
        return 0
    ids = [list(row["input_ids"]) for row in rows]
    alike = len(os.path.commonprefix(ids))  # noqa: RUF071 - of lists
    shared = max(0, min(alike, *(_count_leading_unlabeled(row["labels"]) - 1 for row in rows)))
    lengths = [len(each) for each in ids]
    apart, together = max(lengths), shared + sum(lengths) - shared * len(rows)
    cheaper = together * (together + LINEAR_COST) < len(rows) * apart * (apart + LINEAR_COST)
    return shared if cheaper else 0


def _count_leading_unlabeled(labels: Sequence[int]) -> int:
    """Tokens before the first label."""
    return next((i for i, label in enumerate(labels) if label != IGNORE_INDEX), len(labels))


def pack(rows: Sequence[Mapping[str, Sequence[int]]], prefix_length: int) -> dict[str, Tensor]:
    """B rows as a batch of one.

    Args:
        rows: with ``input_ids`` and ``labels``.
        shared: what ``beginning`` returned, above 0.

    Returns:
        What ``modeling.collate`` returns of one packed row, N = ``shared`` and all rests long.
        ``tokens`` counts the beginning for every row, as if they lay side by side.
    """
    lengths = [len(row["input_ids"]) for row in rows]

    def laid(key: str) -> Tensor:
        rests = chain.from_iterable(row[key][prefix_length:] for row in rows)
        return torch.tensor([[*rows[0][key][:prefix_length], *rests]])

    positions = [
        *range(prefix_length),
        *chain.from_iterable(range(prefix_length, n) for n in lengths),
    ]
    rests = chain.from_iterable([i] * (n - prefix_length) for i, n in enumerate(lengths, 1))
    return {
        "input_ids": laid("input_ids"),
        "labels": laid("labels"),
        "position_ids": torch.tensor([positions]),
        "segments": torch.tensor([[PREFIX_SEGMENT] * prefix_length + list(rests)]),
        "examples": torch.tensor([len(rows)]),
        "tokens": torch.tensor([sum(lengths)]),
    }


def build_attention_mask(segments: Tensor) -> Tensor:
    """What is added to attention's scores: 0 where a token is seen, else float32's lowest.

    A token sees itself and those before it in its segment, and the beginning. It is made where it
    is used: a trainer gathers all batches of a step, and these are large.

    Args:
        segments: (B, W), the number of each token's; ``BEGINNING`` for what all others see.

    Returns:
        (B, 1, W, W) float32.
    """
    same = segments[:, None, :, None] == segments[:, None, None, :]
    seen = (same | (segments == PREFIX_SEGMENT)[:, None, None, :]).tril()
    lowest = torch.finfo(torch.float32).min
    return torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, lowest)


def is_supported(model: Any) -> bool:
    """Whether a model learns from rows laid out like this what it learns from them side by side.

    Not with dropout, which is drawn for each row; nor where attention has a window, or where state
    runs along the sequence. Any other model is tried once, on a few tokens.

    Args:
        model: a causal language model, with or without an adapter.
    """
    config = model.config.get_text_config()
    windows = any(getattr(config, name, None) for name in WINDOW_ATTRIBUTES) or any(
        kind != "full_attention" for kind in getattr(config, "layer_types", None) or []
    )
    dropped = getattr(config, "attention_dropout", 0) or any(
        module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)
    )
    if windows or dropped:
        return False
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if base not in _SUPPORT_CACHE:
        _SUPPORT_CACHE[base] = _matches_separate_rows(model)
    return _SUPPORT_CACHE[base]


@torch.no_grad()
def _matches_separate_rows(model: Any) -> bool:
    """Whether two texts that share a beginning are read as each alone.

    What is wrong must be far less than what comes of reading one text after the other. The model
    trains meanwhile, so that whatever else it draws at random shows.
    """
    texts = [[5, 6, 7, 8, 9], [5, 6, 9, 8, 7, 6]]
    rows = [{"input_ids": ids, "labels": [IGNORE_INDEX] * len(ids)} for ids in texts]
    batch = {key: value.to(model.device) for key, value in pack(rows, 2).items()}

    def logits(ids: Any, **how: Tensor) -> Tensor:
        given = torch.as_tensor(ids, device=model.device)
        return model(input_ids=given, use_cache=False, **how).logits[0].float()

    training = model.training
    model.train()
    try:
        with torch.random.fork_rng():
            first, second = (logits([ids]) for ids in texts)
            alone = torch.cat([first, second[2:]])
            order, positions = batch["input_ids"], batch["position_ids"]
            shared = logits(
                order,
                attention_mask=build_attention_mask(batch["segments"]),
                position_ids=positions,
            )
            otherwise = logits(order)
    except Exception:  # whatever a model has to say about such a mask, or such positions
        return False
    finally:
        model.train(training)
    return bool((shared - alone).norm() < 0.05 * (otherwise - alone).norm())

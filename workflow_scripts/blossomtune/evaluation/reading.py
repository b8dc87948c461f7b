"""Reading prompts once and going on from there in several ways.

Every answer to a prompt shares the prompt's keys and values, and all prompts share their
beginning (system turn, instruction): both are computed once. Only logits that are looked at are
computed, those of an answer's tokens.
"""

import copy
import os.path
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


@dataclass
class Context:
    """What a model has read of B texts.

    Attributes:
        cache: its keys and values, or None before the first token.
        mask: (B, T) int64, 1 where a position holds a token and 0 where it holds padding.
        logits: (B, V) float32, of the token after the last one.
    """

    cache: Any
    mask: Tensor
    logits: Tensor | None = None

    def branch(self) -> "Context":
        """A context of its own to go on from; this one stays as it is."""
        return Context(copy.deepcopy(self.cache), self.mask, self.logits)


def advance(model: Any, context: Context, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
    """Reads more tokens into ``context``.

    Positions count tokens, never padding, wherever the padding lies.

    Args:
        model: a causal language model.
        context: of B texts; changed in place, its ``logits`` excepted.
        ids: (B, W) int64.
        mask: (B, W) int64, 0 over padding.
        keep: for how many of the last positions logits are wanted.

    Returns:
        Logits (B, keep, V) in float32.
    """
    context.mask = torch.cat([context.mask, mask], dim=1)
    positions = (context.mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    output = model(
        input_ids=ids,
        attention_mask=context.mask,
        position_ids=positions,
        past_key_values=context.cache,
        use_cache=True,
        logits_to_keep=keep,
    )
    context.cache = output.past_key_values
    return output.logits.float()


class Reader:
    """A model that has read the beginning that all its prompts share."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], pad: int) -> None:
        """Reads the shared beginning.

        Args:
            model: a causal language model.
            prompts: token ids of every prompt that will be read; none is empty.
            pad: the id to pad with.
        """
        self.model = model
        self.pad = pad
        # At least one token of each prompt is left: its logits are the answer's first.
        shared = os.path.commonprefix([list(p) for p in prompts])  # noqa: RUF071 - of lists
        shared = shared[: min(len(prompt) for prompt in prompts) - 1]
        self.shared = len(shared)
        self._start = Context(None, torch.zeros((1, 0), dtype=torch.int64))
        if shared:
            ids = torch.tensor([shared])
            with torch.inference_mode():
                advance(model, self._start, ids, torch.ones_like(ids), keep=1)
            # A sliding window counts padding between beginning and rest as distance.
            if any(self._start.cache.is_sliding):
                self.shared = 0
                self._start = Context(None, torch.zeros((1, 0), dtype=torch.int64))

    @torch.inference_mode()
    def read(self, prompts: Sequence[Sequence[int]]) -> Context:
        """The context of B prompts; the shorter ones are padded on the left of what differs."""
        context = self._start.branch()
        if context.cache is not None:
            context.cache.batch_repeat_interleave(len(prompts))
        context.mask = context.mask.repeat(len(prompts), 1)
        rest = [list(prompt[self.shared :]) for prompt in prompts]
        width = max(map(len, rest))
        ids = torch.tensor([[self.pad] * (width - len(r)) + r for r in rest])
        mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rest])
        context.logits = advance(self.model, context, ids, mask, keep=1)[:, -1]
        return context

    @torch.inference_mode()
    def nll(self, context: Context, answers: Sequence[Sequence[int]]) -> Tensor:
        """Negative log-likelihood of an answer to each prompt, in nats.

        Args:
            context: of B prompts; left as it is.
            answers: B lists of token ids, each with its end of turn.

        Returns:
            (B,) float32, the sum over an answer's tokens.
        """
        width = max(map(len, answers))
        targets = torch.tensor([[*a, *[-100] * (width - len(a))] for a in answers])
        logits = context.logits[:, None]
        if width > 1:
            known = targets[:, :-1]  # each token is predicted from those before it
            mask = (known != -100).long()
            ids = known.masked_fill(mask == 0, self.pad)
            after = advance(self.model, context.branch(), ids, mask, keep=width - 1)
            logits = torch.cat([logits, after], dim=1)
        losses = cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="none"
        )
        return losses.view(targets.shape).sum(dim=1)

    @torch.inference_mode()
    def greedy(self, context: Context, end: int, limit: int) -> list[list[int]]:
        """The likeliest next token, again and again.

        The model's own generation settings (sampling, penalties) play no part.

        Args:
            context: of B prompts; left as it is.
            end: the token that ends a turn.
            limit: most tokens of an answer.

        Returns:
            B lists of token ids, without ``end``.
        """
        context = context.branch()
        steps = [context.logits.argmax(dim=-1)]
        going = steps[0] != end
        while going.any() and len(steps) < limit:
            ids, mask = steps[-1][:, None], going.long()[:, None]
            steps.append(advance(self.model, context, ids, mask, keep=1)[:, -1].argmax(dim=-1))
            going &= steps[-1] != end
        answers = torch.stack(steps, dim=1).tolist()
        return [a[: a.index(end)] if end in a else a for a in answers]

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
class DecodingState:
    """What a model has read of B texts.

    Attributes:
        cache: its keys and values, or None before the first token.
        mask: (B, T) int64, 1 where a position holds a token and 0 where it holds padding.
        logits: (B, V) float32, of the token after the last one.
    """

    past_key_values: Any
    attention_mask: Tensor
    next_token_logits: Tensor | None = None

    def clone(self) -> "DecodingState":
        """A context of its own to go on from; this one stays as it is."""
        return DecodingState(
            copy.deepcopy(self.past_key_values), self.attention_mask, self.next_token_logits
        )


def feed_tokens(
    model: Any, state: DecodingState, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int
) -> Tensor:
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
    state.attention_mask = torch.cat([state.attention_mask, attention_mask], dim=1)
    positions = (state.attention_mask.cumsum(dim=1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
    output = model(
        input_ids=input_ids,
        attention_mask=state.attention_mask,
        position_ids=positions,
        past_key_values=state.past_key_values,
        use_cache=True,
        logits_to_keep=logits_to_keep,
    )
    state.past_key_values = output.past_key_values
    return output.logits.float()


class PrefixCacheScorer:
    """A model that has read the beginning that all its prompts share."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], pad_token_id: int) -> None:
        """Reads the shared beginning.

        Args:
            model: a causal language model.
            prompts: token ids of every prompt that will be read; none is empty.
            pad: the id to pad with.
        """
        self.model = model
        self.pad_token_id = pad_token_id
        # At least one token of each prompt is left: its logits are the answer's first.
        shared = os.path.commonprefix([list(p) for p in prompts])  # noqa: RUF071 - of lists
        shared = shared[: min(len(prompt) for prompt in prompts) - 1]
        self.prefix_length = len(shared)
        self._prefix_state = DecodingState(None, torch.zeros((1, 0), dtype=torch.int64))
        if shared:
            ids = torch.tensor([shared])
            with torch.inference_mode():
                feed_tokens(model, self._prefix_state, ids, torch.ones_like(ids), logits_to_keep=1)
            # A sliding window counts padding between beginning and rest as distance.
            if any(self._prefix_state.past_key_values.is_sliding):
                self.prefix_length = 0
                self._prefix_state = DecodingState(None, torch.zeros((1, 0), dtype=torch.int64))

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]]) -> DecodingState:
        """The context of B prompts; the shorter ones are padded on the left of what differs."""
        context = self._prefix_state.clone()
        if context.past_key_values is not None:
            context.past_key_values.batch_repeat_interleave(len(prompts))
        context.attention_mask = context.attention_mask.repeat(len(prompts), 1)
        rest = [list(prompt[self.prefix_length :]) for prompt in prompts]
        width = max(map(len, rest))
        ids = torch.tensor([[self.pad_token_id] * (width - len(r)) + r for r in rest])
        mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rest])
        context.next_token_logits = feed_tokens(self.model, context, ids, mask, logits_to_keep=1)[
            :, -1
        ]
        return context

    @torch.inference_mode()
    def compute_nll(self, state: DecodingState, completions: Sequence[Sequence[int]]) -> Tensor:
        """Negative log-likelihood of an answer to each prompt, in nats.

        Args:
            context: of B prompts; left as it is.
            answers: B lists of token ids, each with its end of turn.

        Returns:
            (B,) float32, the sum over an answer's tokens.
        """
        width = max(map(len, completions))
        targets = torch.tensor([[*a, *[-100] * (width - len(a))] for a in completions])
        logits = state.next_token_logits[:, None]
        if width > 1:
            known = targets[:, :-1]  # each token is predicted from those before it
            mask = (known != -100).long()
            ids = known.masked_fill(mask == 0, self.pad_token_id)
            after = feed_tokens(self.model, state.clone(), ids, mask, logits_to_keep=width - 1)
            logits = torch.cat([logits, after], dim=1)
        losses = cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="none"
        )
        return losses.view(targets.shape).sum(dim=1)

    @torch.inference_mode()
    def generate_greedy(
        self, state: DecodingState, end_of_turn_id: int, max_new_tokens: int
    ) -> list[list[int]]:
        """The likeliest next token, again and again.

        The model's own generation settings (sampling, penalties) play no part.

        Args:
            context: of B prompts; left as it is.
            end: the token that ends a turn.
            limit: most tokens of an answer.

        Returns:
            B lists of token ids, without ``end``.
        """
        state = state.clone()
        steps = [state.next_token_logits.argmax(dim=-1)]
        going = steps[0] != end_of_turn_id
        while going.any() and len(steps) < max_new_tokens:
            ids, mask = steps[-1][:, None], going.long()[:, None]
            steps.append(
                feed_tokens(self.model, state, ids, mask, logits_to_keep=1)[:, -1].argmax(dim=-1)
            )
            going &= steps[-1] != end_of_turn_id
        answers = torch.stack(steps, dim=1).tolist()
        return [a[: a.index(end_of_turn_id)] if end_of_turn_id in a else a for a in answers]

"""Score and generate answers with key-value caches that are shared between prompts and answers.

All prompts share a prefix (system turn, instruction), and all answers to a prompt share the prompt.
Each is computed once. Logits are computed for the tokens of answers only.

A state of convolution or linear attention has one value for all tokens so far, so padding after it
cannot be masked. Models with such layers, or with attention windows, do not share the prefix.
Models whose cache has another interface compute every text as a whole.
"""

import copy
import os.path
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers.cache_utils import Cache, DynamicLayer

from blossomtune.modeling.encoding import IGNORE_INDEX, PAD_TOKEN_ID


@dataclass
class DecodingState:
    """A model's state after B texts.

    Attributes:
        past_key_values: Cache of keys and values, or None before the first token and for models
            without one.
        input_ids: (B, T) int64, all tokens and padding so far.
        attention_mask: (B, T) int64, 1 for a token and 0 for padding.
        next_token_logits: (B, V) float32, logits of the token after the last one.
    """

    past_key_values: Any
    input_ids: Tensor
    attention_mask: Tensor
    next_token_logits: Tensor

    def clone(self) -> "DecodingState":
        """Return an independent copy to continue from."""
        return replace(self, past_key_values=copy.deepcopy(self.past_key_values))


def feed_tokens(
    model: Any, state: DecodingState, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int
) -> Tensor:
    """Run the model on more tokens and extend the state.

    Positions count tokens, not padding. Without a cache, the model runs on all tokens again.

    Args:
        model: A causal language model.
        state: State of B texts, which is changed in place.
        input_ids: (B, W) int64.
        attention_mask: (B, W) int64, 0 for padding.
        logits_to_keep: Number of last positions to compute logits for.

    Returns:
        (B, logits_to_keep, V) float32 logits.
    """
    state.attention_mask = torch.cat([state.attention_mask, attention_mask], dim=1)
    state.input_ids = torch.cat([state.input_ids, input_ids], dim=1)
    if state.past_key_values is None:
        input_ids = state.input_ids
    positions = (state.attention_mask.cumsum(dim=1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
    output = model(
        input_ids=input_ids,
        attention_mask=state.attention_mask,
        position_ids=positions,
        past_key_values=state.past_key_values,
        use_cache=True,
        logits_to_keep=logits_to_keep,
    )
    state.past_key_values = getattr(output, "past_key_values", None)
    logits: Tensor = output.logits
    return logits.float()


class PrefixCacheScorer:
    """A model with a cache of the prefix that all prompts share.

    Args:
        model: A causal language model.
        prompts: Token ids of all prompts that will be used; none is empty.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self.model = model
        # each prompt keeps one token at least: its logits predict the answer's first token
        prefix = os.path.commonprefix([list(p) for p in prompts])  # noqa: RUF071 - of lists
        prefix = prefix[: min(len(prompt) for prompt in prompts) - 1]
        self.prefix_length = len(prefix)
        self._prefix_state = _empty_state()
        if prefix:
            ids = torch.tensor([prefix])
            with torch.inference_mode():
                feed_tokens(model, self._prefix_state, ids, torch.ones_like(ids), logits_to_keep=1)
            if not _is_shareable(self._prefix_state.past_key_values):
                self.prefix_length, self._prefix_state = 0, _empty_state()

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]]) -> DecodingState:
        """Return the state of B prompts; what follows the shared prefix is padded on the left."""
        state = self._prefix_state.clone()
        if state.past_key_values is not None:
            state.past_key_values.batch_repeat_interleave(len(prompts))
        state.input_ids = state.input_ids.repeat(len(prompts), 1)
        state.attention_mask = state.attention_mask.repeat(len(prompts), 1)
        suffixes = [list(prompt[self.prefix_length :]) for prompt in prompts]
        width = max(map(len, suffixes))
        ids = torch.tensor([[PAD_TOKEN_ID] * (width - len(s)) + s for s in suffixes])
        mask = torch.tensor([[0] * (width - len(s)) + [1] * len(s) for s in suffixes])
        state.next_token_logits = feed_tokens(self.model, state, ids, mask, logits_to_keep=1)[:, -1]
        return state

    @torch.inference_mode()
    def compute_nll(self, state: DecodingState, completions: Sequence[Sequence[int]]) -> Tensor:
        """Return the negative log-likelihood of one answer per prompt, in nats.

        Args:
            state: State of B prompts; it is not changed.
            completions: B lists of token ids, each with its end of turn.

        Returns:
            (B,) float32, the sum over an answer's tokens.
        """
        width = max(map(len, completions))
        targets = torch.tensor([[*c, *[IGNORE_INDEX] * (width - len(c))] for c in completions])
        logits = state.next_token_logits[:, None]
        if width > 1:
            inputs = targets[:, :-1]  # each token is predicted from those before it
            mask = (inputs != IGNORE_INDEX).long()
            ids = inputs.masked_fill(mask == 0, PAD_TOKEN_ID)
            more = feed_tokens(self.model, state.clone(), ids, mask, logits_to_keep=width - 1)
            logits = torch.cat([logits, more], dim=1)
        losses = cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="none"
        )
        return losses.view(targets.shape).sum(dim=1)

    @torch.inference_mode()
    def generate_greedy(
        self, state: DecodingState, end_of_turn_id: int, max_new_tokens: int
    ) -> list[list[int]]:
        """Generate answers greedily; the model's own generation settings are ignored.

        Args:
            state: State of B prompts; it is not changed.
            end_of_turn_id: Id of the token that ends a turn.
            max_new_tokens: Maximum tokens per answer.

        Returns:
            B lists of token ids, without the end of turn.
        """
        state = state.clone()
        steps = [state.next_token_logits.argmax(dim=-1)]
        is_running = steps[0] != end_of_turn_id
        while is_running.any() and len(steps) < max_new_tokens:
            ids, mask = steps[-1][:, None], is_running.long()[:, None]
            logits = feed_tokens(self.model, state, ids, mask, logits_to_keep=1)
            steps.append(logits[:, -1].argmax(dim=-1))
            is_running &= steps[-1] != end_of_turn_id
        answers = torch.stack(steps, dim=1).tolist()
        return [a[: a.index(end_of_turn_id)] if end_of_turn_id in a else a for a in answers]


def _empty_state() -> DecodingState:
    nothing = torch.zeros((1, 0), dtype=torch.int64)
    return DecodingState(None, nothing, nothing, torch.zeros((1, 0)))


def _is_shareable(cache: Any) -> bool:
    """Return whether a cache has one entry per token, so that padding after it can be masked.

    A sliding window would count padding between prefix and suffix as distance.
    """
    return isinstance(cache, Cache) and all(type(layer) is DynamicLayer for layer in cache.layers)

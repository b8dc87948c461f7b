"""Score answers with key-value caches that are shared between prompts and answers.

All prompts share a prefix (system turn, instruction), and all answers to a prompt share the prompt.
Each is computed once. Logits are computed for the tokens of answers only.

A state of convolution or linear attention has one value for all tokens so far, so padding after it
cannot be masked. Models with such layers, or with attention windows, do not share the prefix.
Models whose cache has another interface compute every text as a whole.
"""

import copy
import os.path
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers.cache_utils import Cache, DynamicLayer

from blossomtune.evaluation.choice_batch import ChoiceBatch, build_choice_batch
from blossomtune.evaluation.decoding import DecodingState, empty_state, feed_tokens
from blossomtune.modeling import prefix_sharing
from blossomtune.modeling.encoding import IGNORE_INDEX, PAD_TOKEN_ID
from blossomtune.modeling.segments import PREFIX_SEGMENT

MAX_LOGITS = 2**26
"""Largest number of logits per forward pass: 256 MiB in float32."""


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
        state = empty_state(model)
        ids = torch.tensor([prefix or prompts[0][:1]], device=model.device)
        with torch.inference_mode():
            feed_tokens(model, state, ids, torch.ones_like(ids), logits_to_keep=1)
        is_shareable = _is_shareable(state.past_key_values)
        if not (prefix and is_shareable):
            prefix, state = [], empty_state(model)
        self.prefix_length, self._prefix_state = len(prefix), state
        self._scores_together = is_shareable and prefix_sharing.is_supported(model)

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]]
    ) -> tuple[Tensor, DecodingState]:
        """Return the negative log-likelihood of answers, and the state to generate others from.

        Args:
            prompts: B token ids, each among the scorer's prompts.
            answers: B lists of C token ids each, with their end of turn.

        Returns:
            ``(nll, state)``: (B, C) float32 in nats, the sum over an answer's tokens; the state
            of the prompts.
        """
        if self._scores_together:
            batch = build_choice_batch(prompts, answers, self.prefix_length)
            if self._max_logit_columns(len(prompts)) >= batch.num_logits:
                return self._score_together(batch)
        state = self._prefill(prompts)
        columns = zip(*answers, strict=True)
        return torch.stack([self._compute_nll(state, column) for column in columns], dim=1), state

    def _score_together(self, batch: ChoiceBatch) -> tuple[Tensor, DecodingState]:
        """Run the model once on prompts and answers."""
        device, state = self.model.device, self._expand_prefix(len(batch.input_ids))
        prefix_segments = torch.full_like(state.attention_mask, PREFIX_SEGMENT)
        segments = torch.cat([prefix_segments, batch.segments.to(device)], dim=1)
        mask = prefix_sharing.build_attention_mask(segments)[:, :, self.prefix_length :]
        output = self.model(
            input_ids=batch.input_ids.to(device),
            attention_mask=mask.to(self.model.dtype),
            position_ids=batch.position_ids.to(device),
            past_key_values=state.past_key_values,
            use_cache=True,
            logits_to_keep=batch.num_logits,
        )
        end = self.prefix_length + batch.prompt_width
        state.past_key_values = output.past_key_values
        state.past_key_values.crop(batch.prompt_width - batch.input_ids.shape[1])  # the answers
        prompt_ids = batch.input_ids[:, : batch.prompt_width].to(device)
        state.input_ids = torch.cat([state.input_ids, prompt_ids], dim=1)
        state.attention_mask = (segments[:, :end] == PREFIX_SEGMENT).long()
        state.next_token_logits = output.logits[:, 0].float()
        return batch.compute_nll(output.logits), state

    def _expand_prefix(self, num_prompts: int) -> DecodingState:
        """Return the prefix's state for several prompts, without copies of its cache."""
        state, cache = self._prefix_state, copy.copy(self._prefix_state.past_key_values)
        if cache is not None:
            cache.layers = [copy.copy(layer) for layer in cache.layers]
            for layer in cache.layers:
                if layer.get_seq_length() > 0:  # some layers use the cache of others
                    # a layer concatenates what follows: the shared tensors do not change
                    layer.keys = layer.keys.expand(num_prompts, -1, -1, -1)
                    layer.values = layer.values.expand(num_prompts, -1, -1, -1)
        return DecodingState(
            cache,
            state.input_ids.expand(num_prompts, -1),
            state.attention_mask.expand(num_prompts, -1),
            state.next_token_logits,
        )

    def _max_logit_columns(self, num_rows: int) -> int:
        """Return for how many tokens per row logits are computed at once."""
        vocabulary: int = self.model.config.get_text_config().vocab_size
        return max(1, MAX_LOGITS // (num_rows * vocabulary))

    def _prefill(self, prompts: Sequence[Sequence[int]]) -> DecodingState:
        """Return the state of B prompts; what follows the shared prefix is padded on the left."""
        state = self._expand_prefix(len(prompts))
        suffixes = [list(prompt[self.prefix_length :]) for prompt in prompts]
        width = max(map(len, suffixes))
        ids = [[PAD_TOKEN_ID] * (width - len(s)) + s for s in suffixes]
        mask = [[0] * (width - len(s)) + [1] * len(s) for s in suffixes]
        input_ids, attention_mask = (
            torch.tensor(values, device=self.model.device) for values in (ids, mask)
        )
        logits = feed_tokens(self.model, state, input_ids, attention_mask, logits_to_keep=1)
        state.next_token_logits = logits[:, -1]
        return state

    def _compute_nll(self, state: DecodingState, completions: Sequence[Sequence[int]]) -> Tensor:
        """Return the negative log-likelihood of one answer per prompt; the state does not change.

        Logits of many tokens are computed piece by piece.
        """
        width = max(map(len, completions))
        targets = torch.tensor(
            [[*c, *[IGNORE_INDEX] * (width - len(c))] for c in completions],
            device=self.model.device,
        )
        nll = _sum_nll(state.next_token_logits[:, None], targets[:, :1])
        step = self._max_logit_columns(len(completions))
        state = state.clone() if width > 1 else state
        for start in range(0, width - 1, step):
            # each token is predicted from those before it
            inputs = targets[:, :-1][:, start : start + step]
            mask = (inputs != IGNORE_INDEX).long()
            ids = inputs.masked_fill(mask == 0, PAD_TOKEN_ID)
            logits = feed_tokens(self.model, state, ids, mask, logits_to_keep=ids.shape[1])
            nll = nll + _sum_nll(logits, targets[:, 1:][:, start : start + step])
        return nll


def _sum_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Return (B,) sums over (B, W) targets of their negative log-likelihood."""
    losses = cross_entropy(
        logits.flatten(0, 1),
        targets.flatten().to(logits.device),
        ignore_index=IGNORE_INDEX,
        reduction="none",
    )
    return losses.view(targets.shape).sum(dim=1)


def _is_shareable(cache: Any) -> bool:
    """Return whether a cache has one entry per token, so that padding after it can be masked.

    A sliding window would count padding between prefix and suffix as distance.
    """
    return isinstance(cache, Cache) and all(type(layer) is DynamicLayer for layer in cache.layers)

"""Continue texts from a cache: feed tokens, or generate them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteriaList

from blossomtune.modeling.encoding import PAD_TOKEN_ID

StopFunction = Callable[[int, list[int]], bool]
"""Return whether the text of an index needs no more tokens after these."""


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


def empty_state(model: Any) -> DecodingState:
    """Return the state of one text without tokens."""
    nothing = torch.zeros((1, 0), dtype=torch.int64, device=model.device)
    return DecodingState(None, nothing, nothing, torch.zeros((1, 0), device=model.device))


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


@torch.inference_mode()
def generate_greedy(
    model: Any,
    state: DecodingState,
    end_of_turn_id: int,
    max_new_tokens: int,
    should_stop: StopFunction | None = None,
) -> list[list[int]]:
    """Generate answers greedily with transformers, from the cache of their prompts.

    Args:
        model: A causal language model; its own generation settings are replaced.
        state: State of B prompts, whose cache is changed in place.
        end_of_turn_id: Id of the token that ends a turn.
        max_new_tokens: Maximum tokens per answer.
        should_stop: Function of an answer's index and tokens; an answer that stops so is padded.

    Returns:
        B lists of token ids, without the end of turn.
    """
    first = state.next_token_logits.argmax(dim=-1, keepdim=True).to(state.input_ids.device)
    ids = torch.cat([state.input_ids, first], dim=1)
    start = state.input_ids.shape[1]

    def stop(input_ids: Tensor, scores: Any, **arguments: Any) -> Tensor:
        """Return (B,) bool; the first token precedes ``generate``, which ignores an end there."""
        stops = [
            end_of_turn_id in answer or (should_stop is not None and should_stop(i, answer))
            for i, answer in enumerate(input_ids[:, start:].tolist())
        ]
        return torch.tensor(stops, device=input_ids.device)

    if max_new_tokens > 1 and (first != end_of_turn_id).any():
        # generate() fills what a configuration leaves open from the model's own
        model.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=end_of_turn_id, pad_token_id=PAD_TOKEN_ID
        )
        cache = state.past_key_values
        ids = model.generate(
            input_ids=ids,
            attention_mask=torch.cat([state.attention_mask, torch.ones_like(first)], dim=1),
            max_new_tokens=max_new_tokens - 1,
            stopping_criteria=StoppingCriteriaList([stop]),
            **({} if cache is None else {"past_key_values": cache}),
        )
    answers = ids[:, start:].tolist()
    return [a[: a.index(end_of_turn_id)] if end_of_turn_id in a else a for a in answers]

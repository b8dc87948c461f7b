"""Run a model's backbone once, and its head on any part of the hidden states.

Heads differ in more than weights: soft caps, scales, biases and adapters. So the head runs as part
of the model's own ``forward``, with the hidden states in place of the backbone's output.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from blossomtune.modeling.architecture import get_base_model

_SEPARABLE_CACHE: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


@dataclass(frozen=True)
class BackboneOutput:
    """Hidden states of a batch, and the model to compute their logits with.

    Attributes:
        model: A causal language model, with or without an adapter.
        output: Output of its backbone.
    """

    model: Any
    output: Any

    @property
    def hidden_states(self) -> Tensor:
        """Return the last hidden states, (B, W, H)."""
        states: Tensor = self.output.last_hidden_state
        return states

    def compute_logits(self, hidden_states: Tensor) -> Tensor:
        """Return (N, V) logits of (N, H) hidden states, on the device of the model's inputs."""
        backbone = _get_backbone(self.model)
        output = replace(self.output, last_hidden_state=hidden_states[None])
        ids = torch.zeros((1, len(hidden_states)), dtype=torch.int64, device=self.model.device)
        with _replace_forward(backbone, output):
            logits: Tensor = self.model(input_ids=ids, use_cache=False).logits
        return logits[0]


def run_backbone(model: Any, inputs: Mapping[str, Tensor]) -> BackboneOutput:
    """Return the hidden states of a batch.

    Args:
        model: A model that ``is_separable`` accepts.
        inputs: The model's forward inputs.

    Returns:
        Output of the backbone.
    """
    # the wrappers of the whole model, such as autocast, apply to the backbone, too
    return _run(model, {**inputs, "logits_to_keep": 1})[0]


def is_separable(model: Any) -> bool:
    """Return whether the head gives the same logits alone, tested once with a few tokens.

    Args:
        model: A causal language model, with or without an adapter.

    Returns:
        Whether ``run_backbone`` may be used.
    """
    base = get_base_model(model)
    if base not in _SEPARABLE_CACHE:
        _SEPARABLE_CACHE[base] = _matches_whole_model(model)
    return _SEPARABLE_CACHE[base]


@torch.no_grad()
def _matches_whole_model(model: Any) -> bool:
    """Compare the logits of a few tokens in evaluation mode."""
    was_training = model.training
    model.eval()
    try:
        ids = torch.tensor([[5, 6, 7, 8]], device=model.device)
        output, logits = _run(model, {"input_ids": ids})
        alone = output.compute_logits(output.hidden_states[0]).float()
    except Exception:  # models without such a backbone fail in many ways
        return False
    finally:
        model.train(was_training)
    return bool((alone - logits[0]).norm() <= 1e-3 * logits.norm())


def _run(model: Any, inputs: Mapping[str, Any]) -> tuple[BackboneOutput, Tensor]:
    """Return the backbone's output and the logits in float32."""
    outputs: list[Any] = []
    handle = _get_backbone(model).register_forward_hook(lambda *args: outputs.append(args[-1]))
    try:
        logits: Tensor = model(**inputs, use_cache=False).logits
    finally:
        handle.remove()
    (output,) = outputs
    return BackboneOutput(model, output), logits.float()


def _get_backbone(model: Any) -> Any:
    return get_base_model(model).base_model


@contextmanager
def _replace_forward(module: Any, output: Any) -> Iterator[None]:
    """Let a module return an output without running, and restore its ``forward`` afterwards."""
    wrapped = vars(module).get("forward")  # accelerate sets one per module
    module.forward = lambda *_, **__: output
    try:
        yield
    finally:
        del module.forward
        if wrapped is not None:
            module.forward = wrapped

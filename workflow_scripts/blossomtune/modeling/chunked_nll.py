"""Compute the loss in chunks of tokens, so that the logits of all tokens never exist at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

MAX_LOGITS = 2**25
"""Largest number of logits per chunk: 128 MiB in float32."""

NllFunction = Callable[[Tensor, Tensor], Tensor]


def compute_chunked_nll(
    compute_logits: Callable[[Tensor], Tensor], hidden_states: Tensor, targets: Tensor, size: int
) -> Tensor:
    """Return the negative log-likelihood of each token, in nats.

    Args:
        compute_logits: Head of the model: (n, H) hidden states to (n, V) logits.
        hidden_states: (N, H).
        targets: (N,) int64 token ids.
        size: Tokens per chunk.

    Returns:
        (N,) float32.
    """

    def compute_nll(hidden_states: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(compute_logits(hidden_states).float(), targets, reduction="none")

    if torch.is_grad_enabled() and not compute_logits(hidden_states[:1].detach()).requires_grad:
        losses: Tensor = _FrozenHeadNll.apply(  # type: ignore[no-untyped-call]
            hidden_states, targets, compute_nll, size
        )
        return losses
    chunks = zip(_split(hidden_states, size), _split(targets, size), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([compute_nll(*chunk) for chunk in chunks])
    return torch.cat([checkpoint(compute_nll, *chunk, use_reentrant=False) for chunk in chunks])


def _split(tensor: Tensor, size: int) -> list[Tensor]:
    return [tensor[start : start + size] for start in range(0, len(tensor), size)]


class _FrozenHeadNll(torch.autograd.Function):
    """Loss of a head without trained weights.

    The gradient of a token's hidden state belongs to that token's loss only. So it is computed
    with the loss, and nothing is computed twice.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_states: Tensor, targets: Tensor, compute_nll: NllFunction, size: int
    ) -> Tensor:
        """Return the losses, and save their gradients.

        Args:
            ctx: Context of autograd.
            hidden_states: (N, H).
            targets: (N,) int64.
            compute_nll: Function of a chunk's hidden states and targets.
            size: Tokens per chunk.

        Returns:
            (N,) float32.
        """
        gradient = torch.empty_like(hidden_states)
        losses = []
        parts = (_split(tensor, size) for tensor in (hidden_states, targets, gradient))
        for states, ids, result in zip(*parts, strict=True):
            states = states.detach().requires_grad_()
            with torch.enable_grad():
                nll = compute_nll(states, ids)
            result.copy_(torch.autograd.grad(nll, states, torch.ones_like(nll))[0])
            losses.append(nll.detach())
        ctx.save_for_backward(gradient)
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the hidden states.

        Args:
            ctx: Context of autograd.
            *outputs: (N,) gradient of the losses.

        Returns:
            (N, H), and None for each other argument of ``forward``.
        """
        (gradient,) = ctx.saved_tensors
        scaled = gradient * outputs[0][:, None].to(gradient.device)
        return scaled.to(gradient.dtype), None, None, None

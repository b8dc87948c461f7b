"""Linear layers with LoRA and a common input, as one autograd function.

Layer i computes y_i = x W_iᵀ + b_i + (x A_iᵀ)(s_i B_i)ᵀ, with W_i and b_i frozen. PEFT computes the
same in more operations: casts between the dtypes of base and adapter, dropout, a scaling of each
output, and products with only r columns per layer. Unsloth's ``fast_lora.py`` has such functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear


@dataclass(frozen=True)
class LoraLinearWeights:
    """Weights of one linear layer with LoRA.

    Attributes:
        weight: W, (d, k), frozen, in the dtype of the input.
        bias: b, (d,), frozen, or None.
        factor_a: A, (r, k) float32.
        factor_b: B, (d, r) float32.
        scaling: s, the factor of B A.
    """

    weight: Tensor
    bias: Tensor | None
    factor_a: Tensor
    factor_b: Tensor
    scaling: float


def apply_lora_linear(x: Tensor, layers: Sequence[LoraLinearWeights]) -> tuple[Tensor, ...]:
    """Apply linear layers with LoRA to the same input.

    All products are computed in the input's dtype. The gradients of A and B are float32.

    Args:
        x: Input, (…, k).
        layers: Weights of n layers.

    Returns:
        n outputs (…, d_i) in the input's dtype.
    """
    factors = [factor for layer in layers for factor in (layer.factor_a, layer.factor_b)]
    outputs: tuple[Tensor, ...] = _LoraLinear.apply(x, layers, *factors)  # type: ignore[no-untyped-call]
    return outputs


class _LoraLinear(torch.autograd.Function):
    """The inputs after the layers are A and B of each layer, in turn."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, layers: Sequence[LoraLinearWeights], *factors: Tensor
    ) -> tuple[Tensor, ...]:
        x = x.contiguous()
        rows = x.view(-1, x.shape[-1])
        joint_a = torch.cat(factors[::2]).to(x.dtype)
        scaled_b = [(layer.factor_b * layer.scaling).to(x.dtype) for layer in layers]
        hidden = joint_a @ rows.T  # (Σ r, rows): BLAS is faster with the short side first
        outputs = [linear(x, layer.weight, layer.bias) for layer in layers]
        for output, b, part in zip(outputs, scaled_b, _split(hidden, scaled_b), strict=True):
            output.view(-1, len(b)).addmm_(part.T, b.T)
        ctx.save_for_backward(rows, hidden, joint_a, *scaled_b)
        ctx.layers, ctx.shape = layers, x.shape
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        rows, hidden, joint_a, *scaled_b = ctx.saved_tensors
        needs_x, _, *needs_factor = ctx.needs_input_grad
        grads = [grad.reshape(-1, grad.shape[-1]) for grad in grad_outputs]
        grad_hidden = torch.cat([g @ b for g, b in zip(grads, scaled_b, strict=True)], dim=1)
        grad_x, grad_factors = None, list[Tensor | None]([None] * len(needs_factor))
        if any(needs_factor[::2]):
            grad_a = (grad_hidden.T @ rows).float()
            grad_factors[::2] = _split(grad_a, scaled_b)
        for i, part in enumerate(_split(hidden, scaled_b)):
            if needs_factor[2 * i + 1]:
                grad_factors[2 * i + 1] = (part @ grads[i]).T.float() * ctx.layers[i].scaling
        if needs_x:
            grad_x = grad_hidden @ joint_a
            for grad, layer in zip(grads, ctx.layers, strict=True):
                grad_x.addmm_(grad, layer.weight)
            grad_x = grad_x.view(ctx.shape)
        return grad_x, None, *grad_factors


def _split(joint: Tensor, scaled_b: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Split (Σ r, …) by the ranks of the layers."""
    return torch.split(joint, [b.shape[1] for b in scaled_b])

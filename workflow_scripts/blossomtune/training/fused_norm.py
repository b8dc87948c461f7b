"""Compute RMS normalization (arXiv 1910.07467) by one autograd function while a model trains.

Modules of transformers compute it in six operations, and its gradient in more than ten. Their
weights are frozen here, so that one gradient is enough.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
"""Largest relative difference to the module's output, by dtype."""


@contextmanager
def fuse_norms(model: Any) -> Iterator[None]:
    """Replace the forward of frozen modules that compute RMS normalization, as a trial shows.

    Args:
        model: Model whose weights of normalization are frozen.

    Yields:
        None, while the modules are replaced.
    """
    modules = [module for module in model.modules() if is_rms_norm(module)]
    try:
        for module in modules:
            module.forward = partial(_forward, module, module.forward)
        yield
    finally:
        for module in modules:
            vars(module).pop("forward", None)


def is_rms_norm(module: Any) -> bool:
    """Return whether a frozen module computes w x / √(mean x² + ε), tried with two rows."""
    weight = getattr(module, "weight", None)
    if not type(module).__name__.endswith("RMSNorm") or not isinstance(weight, Tensor):
        return False
    is_frozen = not weight.requires_grad and "forward" not in vars(module)
    if not is_frozen or weight.dim() != 1 or weight.dtype not in _TOLERANCE:
        return False
    rows = torch.linspace(-2, 3, 2 * len(weight), device=weight.device).view(2, -1)
    rows = rows.to(weight.dtype)
    with torch.no_grad():
        expected = module(rows)
        if not isinstance(expected, Tensor) or expected.dtype != rows.dtype:
            return False
        error = (apply_rms_norm(rows, weight, _get_epsilon(module)) - expected).float().norm()
    return bool(error <= _TOLERANCE[weight.dtype] * expected.float().norm())


def apply_rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Compute w x / √(mean x² + ε), with the mean in float32.

    Args:
        x: (…, n).
        weight: w, (n,), frozen.
        epsilon: ε.

    Returns:
        (…, n) in the dtype of x.
    """
    output: Tensor = _RmsNorm.apply(x, weight, epsilon)  # type: ignore[no-untyped-call]
    return output


def _get_epsilon(module: Any) -> float:
    return float(getattr(module, "variance_epsilon", getattr(module, "eps", 0.0)))


def _forward(module: Any, forward: Any, x: Tensor, *args: Any) -> Tensor:
    # Embeddings are a leaf that requires a gradient with gradient checkpointing only. Both ways
    # take the same path, so that checkpointing changes no bit.
    is_trained = x.requires_grad and not x.is_leaf and torch.is_grad_enabled()
    is_usual = x.dtype == module.weight.dtype and not torch.is_autocast_enabled(x.device.type)
    if args or not is_trained or not is_usual:
        output: Tensor = forward(x, *args)
        return output
    return apply_rms_norm(x, module.weight, _get_epsilon(module))


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        rate = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, rate)
        return (x * rate).to(x.dtype).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        x, weight, rate = ctx.saved_tensors
        scaled = (grad * weight).float()
        mean = (scaled * x).mean(dim=-1, keepdim=True)
        grad_x = scaled.mul_(rate).addcmul_(x.float(), mean * rate**3, value=-1)
        return grad_x.to(x.dtype), None, None

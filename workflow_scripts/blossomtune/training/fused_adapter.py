"""Compute the LoRA layers of a model by ``lora_linear`` while it trains."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear as PeftLinear
from torch import Tensor

from blossomtune.training.layer_groups import find_layer_groups
from blossomtune.training.lora_linear import LoraLinearWeights, apply_lora_linear

FUSED_DTYPES = (torch.float32, torch.bfloat16)
"""Dtypes of base weights. Float16 stays with PEFT: gradients of A and B would underflow in it."""


@contextmanager
def fuse_adapter(model: Any) -> Iterator[None]:
    """Compute plain LoRA layers without PEFT; layers with the same input are computed at once.

    Layers with DoRA, dropout, quantized weights or hooks inside keep PEFT's forward, as do
    embeddings, convolutions and experts. Tensors and their names stay the same.

    Args:
        model: PEFT model with an adapter.

    Yields:
        None, while the layers are replaced.
    """
    layers = {name: module for name, module in model.named_modules() if is_plain_lora(module)}
    groups = [_LayerGroup([layers[n] for n in names]) for names in find_layer_groups(model, layers)]
    try:
        for group in groups:
            group.install()
        yield
    finally:
        for group in groups:
            group.remove()


def is_plain_lora(module: Any) -> bool:
    """Return whether a module is a linear layer with one plain LoRA adapter, and nothing else."""
    if type(module) is not PeftLinear or len(module.active_adapters) != 1:
        return False
    name, base = module.active_adapters[0], module.get_base_layer()
    if type(base) is not torch.nn.Linear or name not in module.lora_A:
        return False
    factors = module.lora_A[name], module.lora_B[name]
    return (
        base.weight.dtype in FUSED_DTYPES
        and not base.weight.requires_grad
        and all(factor.weight.dtype == torch.float32 for factor in factors)
        and isinstance(module.lora_dropout[name], torch.nn.Identity)
        and name not in module.lora_variant
        and not (module.lora_bias[name] or module.disable_adapters or module.merged)
        and not any(_has_hooks(part) for part in (base, *factors))
        and "forward" not in vars(module)
    )


def _has_hooks(module: torch.nn.Module) -> bool:
    """Return whether calling a module does more than its class's forward."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks
    return any(hooks) or "forward" in vars(module)


class _LayerGroup:
    """Layers with the same input. The first that is called computes the outputs of all.

    Args:
        layers: PEFT's layers.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self._layers = layers
        self._weights = [_get_weights(layer) for layer in layers]
        self._clear()

    def _clear(self) -> None:
        self._input: Tensor | None = None
        self._state: tuple[Any, ...] = ()
        self._outputs: dict[int, Tensor] = {}

    def install(self) -> None:
        """Replace the forward of the layers."""
        for index, layer in enumerate(self._layers):
            layer.forward = partial(self._forward, index, layer.forward)

    def remove(self) -> None:
        """Restore the forward of the layers."""
        self._clear()
        for layer in self._layers:
            vars(layer).pop("forward", None)

    def _forward(self, index: int, forward: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        is_autocast = torch.is_autocast_enabled(x.device.type)
        is_usual = x.dtype == self._weights[index].weight.dtype and not x.is_inference()
        if args or kwargs or is_autocast or not is_usual:
            output: Tensor = forward(x, *args, **kwargs)
            return output
        state = (x._version, torch.is_grad_enabled())
        if self._input is not x or self._state != state or index not in self._outputs:
            self._input, self._state = x, state
            self._outputs = dict(enumerate(apply_lora_linear(x, self._weights)))
        output = self._outputs.pop(index)
        if not self._outputs:
            self._clear()  # keeps no activation alive
        return output


def _get_weights(layer: Any) -> LoraLinearWeights:
    name, base = layer.active_adapters[0], layer.get_base_layer()
    factor_a, factor_b = layer.lora_A[name].weight, layer.lora_B[name].weight
    return LoraLinearWeights(base.weight, base.bias, factor_a, factor_b, layer.scaling[name])

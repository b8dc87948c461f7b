"""Run a model whose layers are in memory one at a time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from blossomtune.modeling.merged_layers import get_base_name
from blossomtune.modeling.weight_reader import WeightReader


@contextmanager
def stream_layers(
    model: Any,
    weights: WeightReader,
    device: torch.device,
    *,
    merge: bool = False,
    whole: bool = False,
) -> Iterator[None]:
    """Load the weights of each layer before it runs, and drop them after it.

    Args:
        model: An empty model, or a PEFT model of one.
        weights: The empty model's weights.
        device: Device to run on.
        merge: Run a PEFT model with the adapter merged into each layer.
        whole: Load all weights at once, for models that use weights of layers that do not run.

    Yields:
        None; the model runs inside the context.
    """
    layers = [("", model, model)] if whole else _iter_layers(model, "")
    with ExitStack() as stack:
        for name, module, tensors in layers:
            layer = _StreamedLayer(name, tensors, weights, device, merge)
            stack.callback(module.register_forward_pre_hook(layer.load).remove)
            stack.callback(module.register_forward_hook(layer.drop, always_call=True).remove)
        yield


def _iter_layers(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Yield name, module and owner of the tensors of each part that is loaded when it runs.

    Numbered layers and layers with an adapter are loaded as a whole, other modules without those
    below them.
    """
    if isinstance(module, LoraLayer) or name.rpartition(".")[2].isdecimal():
        yield name, module, module
        return
    own = nn.Module()
    own._parameters, own._buffers = module._parameters, module._buffers
    if own._parameters or own._buffers:
        yield name, module, own
    for child_name, child in module.named_children():
        yield from _iter_layers(child, f"{name}.{child_name}".lstrip("."))


class _StreamedLayer:
    """A layer and the tensors that it had before it ran."""

    def __init__(
        self, name: str, owner: nn.Module, weights: WeightReader, device: torch.device, merge: bool
    ) -> None:
        self._weights, self._device = weights, device
        tensors = [*owner.named_parameters(name), *owner.named_buffers(name)]
        self._tensors = [(get_base_name(tensor_name), tensor) for tensor_name, tensor in tensors]
        self._merged = [m for m in owner.modules() if isinstance(m, LoraLayer)] if merge else []
        self._before: list[torch.Tensor] = []

    @torch.no_grad()
    def load(self, *args: Any) -> None:
        """Read the layer's weights, and merge the adapter."""
        self._before = [tensor.data for _, tensor in self._tensors]
        for name, tensor in self._tensors:
            data = self._weights.read(name) if name in self._weights else tensor.data
            tensor.data = data.to(self._device, tensor.dtype)
        for layer in self._merged:
            layer.merge(safe_merge=True)

    def drop(self, *args: Any) -> None:
        """Give the layer the tensors back that it had before."""
        for (_, tensor), data in zip(self._tensors, self._before, strict=True):
            tensor.data = data
        self._before = []
        for layer in self._merged:
            layer.merged_adapters.clear()

"""Find layers of a model that receive the same input, such as the projections of an attention."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

TRIAL_TOKENS = [5, 6, 7, 8]
"""Token ids that every vocabulary has."""

_GROUPS_CACHE: WeakKeyDictionary[Any, dict[tuple[str, ...], list[list[str]]]] = WeakKeyDictionary()


def find_layer_groups(model: Any, layers: Mapping[str, torch.nn.Module]) -> list[list[str]]:
    """Group layers that receive the same tensor in a forward pass of a few tokens.

    The model runs once per set of layers; later calls return the same groups.

    Args:
        model: PEFT model.
        layers: Layers by name.

    Returns:
        Names of each group in the order of their calls. A layer is in one group; those that are not
        called exactly once are alone.
    """
    cache = _GROUPS_CACHE.setdefault(model.get_base_model(), {})
    if tuple(layers) not in cache:
        calls = _record_inputs(model, layers) if len(layers) > 1 else {}
        cache[tuple(layers)] = _group_by_input(layers, calls)
    return cache[tuple(layers)]


def _group_by_input(
    layers: Mapping[str, torch.nn.Module], calls: Mapping[str, list[Tensor]]
) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for name in [*calls, *(name for name in layers if name not in calls)]:
        inputs = calls.get(name, [])
        key = id(inputs[0]) if len(inputs) == 1 else id(layers[name])
        groups.setdefault(key, []).append(name)
    return list(groups.values())


@torch.no_grad()
def _record_inputs(model: Any, layers: Mapping[str, torch.nn.Module]) -> dict[str, list[Tensor]]:
    """Return the inputs of each called layer, or nothing if the model fails."""
    calls: dict[str, list[Tensor]] = {}

    def record(name: str, inputs: tuple[Tensor, ...]) -> None:
        calls.setdefault(name, []).append(inputs[0])

    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: record(name, inputs))
        for name, layer in layers.items()
    ]
    was_training = model.training
    try:
        with torch.random.fork_rng():
            ids = torch.tensor([TRIAL_TOKENS], device=model.device)
            model.eval()(input_ids=ids, use_cache=False)
    except Exception:  # models refuse such an input in many ways
        return {}
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return calls

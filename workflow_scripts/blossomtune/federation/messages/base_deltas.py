"""Several sets of tensors in one: a prefix before the names of each."""

from collections.abc import Mapping

from torch import Tensor

from blossomtune.aggregation.types import Factors
from blossomtune.named_tensors import StateDict

BaseDeltas = dict[int, dict[str, Factors]]
"""By round and layer, what was added to the base's weights."""


def flatten_base_deltas(base_deltas: Mapping[int, Mapping[str, Factors]]) -> StateDict:
    """Updates of the base as tensors: ``<round>/<layer>/A`` and ``B``."""
    return {
        f"{number}/{layer}/{letter}": tensor
        for number, layers in base_deltas.items()
        for layer, factors in layers.items()
        for letter, tensor in zip("BA", factors, strict=True)
    }


def unflatten_base_deltas(state: Mapping[str, Tensor]) -> BaseDeltas:
    """What ``named`` was given.

    Raises:
        ValueError: where a name is not one of its.
        KeyError: where a factor's other one is missing.
    """
    folds: BaseDeltas = {}
    for name in sorted(state):
        number, layer, letter = name.split("/")
        if letter == "A":
            folds.setdefault(int(number), {})[layer] = (state[name[:-1] + "B"], state[name])
    return folds

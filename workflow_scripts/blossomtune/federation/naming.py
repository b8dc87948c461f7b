"""Several sets of tensors in one: a prefix before the names of each."""

from collections.abc import Mapping

from torch import Tensor

from blossomtune.federation.adapter import Factors, State

Folds = dict[int, dict[str, Factors]]
"""By round and layer, what was added to the base's weights."""


def above(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The tensors with ``prefix/`` before their names."""
    return {f"{prefix}/{name}": value for name, value in state.items()}


def below(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The tensors whose names begin with ``prefix/``, without it."""
    inner = f"{prefix}/"
    return {n.removeprefix(inner): v for n, v in state.items() if n.startswith(inner)}


def named(folds: Mapping[int, Mapping[str, Factors]]) -> State:
    """Updates of the base as tensors: ``<round>/<layer>/A`` and ``B``."""
    return {
        f"{number}/{layer}/{letter}": tensor
        for number, layers in folds.items()
        for layer, factors in layers.items()
        for letter, tensor in zip("BA", factors, strict=True)
    }


def unnamed(state: Mapping[str, Tensor]) -> Folds:
    """What ``named`` was given.

    Raises:
        ValueError: where a name is not one of its.
        KeyError: where a factor's other one is missing.
    """
    folds: Folds = {}
    for name in sorted(state):
        number, layer, letter = name.split("/")
        if letter == "A":
            folds.setdefault(int(number), {})[layer] = (state[name[:-1] + "B"], state[name])
    return folds

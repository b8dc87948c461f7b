"""Convert updates of the base weights to named tensors and back."""

from collections.abc import Mapping

from torch import Tensor

from blossomtune.aggregation.types import Factors
from blossomtune.named_tensors import StateDict

BaseDeltas = dict[int, dict[str, Factors]]
"""Updates of the base weights, by round and layer."""


def flatten_base_deltas(base_deltas: Mapping[int, Mapping[str, Factors]]) -> StateDict:
    """Return the factors as tensors with names ``<round>/<layer>/A`` and ``<round>/<layer>/B``."""
    return {
        f"{number}/{layer}/{letter}": tensor
        for number, layers in base_deltas.items()
        for layer, factors in layers.items()
        for letter, tensor in zip("BA", factors, strict=True)
    }


def unflatten_base_deltas(state: Mapping[str, Tensor]) -> BaseDeltas:
    """Invert ``flatten_base_deltas``.

    Args:
        state: Tensors with names ``<round>/<layer>/A`` and ``<round>/<layer>/B``.

    Returns:
        Factors B (d, r) and A (r, k) by round and layer.

    Raises:
        ValueError: If a name has another form.
        KeyError: If one factor of a layer is missing.
    """
    base_deltas: BaseDeltas = {}
    for name in sorted(state):
        number, layer, letter = name.split("/")
        if letter == "A":
            factors = (state[name[:-1] + "B"], state[name])
            base_deltas.setdefault(int(number), {})[layer] = factors
    return base_deltas

"""Compute the factors of each layer when they are used."""

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

from blossomtune.aggregation.layers import iter_factors
from blossomtune.aggregation.low_rank import cast_factors
from blossomtune.aggregation.types import Factors


class LazyFactors(Mapping[str, Factors]):
    """Factors by layer; each access computes those of one layer.

    Args:
        server_state: Adapter that gives layers, dtypes and devices.
        compute: Function that returns B and A of a layer.
    """

    def __init__(
        self, server_state: Mapping[str, Tensor], compute: Callable[[str], Factors]
    ) -> None:
        self._references = {layer: a for layer, (_, a) in iter_factors(server_state)}
        self._compute = compute

    def __getitem__(self, layer: str) -> Factors:
        """Compute B (d, r) and A (r, k) of a layer."""
        return cast_factors(self._compute(layer), self._references[layer])

    def __iter__(self) -> Iterator[str]:
        """Iterate over the layers."""
        return iter(self._references)

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self._references)

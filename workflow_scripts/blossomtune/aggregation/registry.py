"""TODO docstring."""

from collections.abc import Callable, Sequence

from blossomtune.aggregation.fedavg import fedavg
from blossomtune.aggregation.fedex import fedex
from blossomtune.aggregation.flexlora import flexlora
from blossomtune.aggregation.flora import flora
from blossomtune.aggregation.hetlora import hetlora
from blossomtune.aggregation.types import AggregationResult, ClientUpdate
from blossomtune.named_tensors import StateDict

AGGREGATIONS: dict[str, Callable[[Sequence[ClientUpdate], StateDict, float], AggregationResult]] = {
    "fedavg": fedavg,
    "flexlora": flexlora,
    "flora": flora,
    "fedex": fedex,
    "ffa": fedavg,
    "rolora": fedavg,
    "hetlora": hetlora,
}
"""By name: the clients' updates, the adapter that the server holds, and its scale s."""

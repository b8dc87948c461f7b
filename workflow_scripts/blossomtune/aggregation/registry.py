"""Aggregation methods by name."""

from blossomtune.aggregation.fedavg import fedavg
from blossomtune.aggregation.fedex import fedex
from blossomtune.aggregation.ffa import ffa, select_ffa_factor
from blossomtune.aggregation.flexlora import flexlora
from blossomtune.aggregation.flora import flora
from blossomtune.aggregation.hetlora import hetlora
from blossomtune.aggregation.rolora import rolora, select_rolora_factor
from blossomtune.aggregation.types import AggregationFunction

AGGREGATIONS: dict[str, AggregationFunction] = {
    "fedavg": fedavg,
    "flexlora": flexlora,
    "flora": flora,
    "fedex": fedex,
    "ffa": ffa,
    "rolora": rolora,
    "hetlora": hetlora,
}

_FACTOR_SELECTORS = {"ffa": select_ffa_factor, "rolora": select_rolora_factor}


def select_trainable_factor(aggregation: str, round_number: int) -> str:
    """Select the factor that clients train and send.

    Args:
        aggregation: Name of the aggregation method.
        round_number: 1, 2, …

    Returns:
        ``A``, ``B`` or ``both``.
    """
    selector = _FACTOR_SELECTORS.get(aggregation)
    return selector(round_number) if selector else "both"

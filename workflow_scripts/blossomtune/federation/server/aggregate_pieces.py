"""Aggregate the clients' tensors with Flower's strategies, piece by piece.

Flower's strategies work element by element and hold all arrays in float64. So each piece of the
tensors gets a Flower strategy of its own, and the pieces together are the same bits. Only Krum
compares whole clients; it selects them first.
"""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from torch import Tensor

from blossomtune.config.strategies import (
    BulyanSettings,
    KrumSettings,
    MultiKrumSettings,
    StrategySettings,
)
from blossomtune.federation.server.krum_selection import select_clients
from blossomtune.federation.server.strategy_registry import (
    MOMENTS,
    build_strategy,
    extract_moments,
    restore_strategy,
)
from blossomtune.federation.server.tensor_pieces import (
    Piece,
    insert_piece,
    select_piece,
    split_into_pieces,
)
from blossomtune.named_tensors import StateDict, add_prefix, strip_prefix
from blossomtune.privacy.record_keys import NORM_BIT_KEY

MAX_ELEMENTS = 2**22
"""Most elements of all clients together in a piece; Flower needs about 40 bytes for each."""


@dataclass(frozen=True)
class WeightedState:
    """Result of one client, or of an aggregation.

    Attributes:
        state: Trained tensors at the server's rank.
        weight: Aggregation weight. Weights need not sum to 1.
        was_clipped: Whether the client clipped its update, if clients clip adaptively.
    """

    state: Mapping[str, Tensor]
    weight: float
    was_clipped: bool | None = None


def aggregate_pieces(
    settings: StrategySettings,
    step: int,
    current_state: StateDict,
    results: Sequence[WeightedState],
    moments: StateDict,
) -> tuple[StateDict, StateDict]:
    """Aggregate the results of a round.

    Args:
        settings: The strategy's block of the configuration.
        step: Number of the server optimizer's step, from 1.
        current_state: The server's tensors before the round.
        results: Results in the order of the clients.
        moments: float64 tensors of the server's optimizer before the round.

    Returns:
        float32 tensors with the names of ``current_state``, sorted, and the moments after the
        round.
    """
    max_elements = max(1, MAX_ELEMENTS // len(results))
    selected: Sequence[int] = range(len(results))
    if isinstance(settings, KrumSettings):
        states = [result.state for result in results]
        num_selected = _count_selected(settings, len(results))
        selected = select_clients(states, settings.malicious, num_selected, max_elements)
        if not isinstance(settings, BulyanSettings):  # it computes from the number of all clients
            results = [results[position] for position in selected]
    gc.freeze()  # Flower collects garbage once per tensor and client
    try:
        return _aggregate_pieces(settings, step, current_state, results, moments, selected)
    finally:
        gc.unfreeze()


def _aggregate_pieces(
    settings: StrategySettings,
    step: int,
    current_state: StateDict,
    results: Sequence[WeightedState],
    moments: StateDict,
    selected: Sequence[int],
) -> tuple[StateDict, StateDict]:
    """Aggregate the selected results."""
    state: StateDict = {}
    new_moments: dict[str, StateDict] = {key: {} for key in MOMENTS}
    for piece in split_into_pieces(current_state, max(1, MAX_ELEMENTS // len(results))):
        strategy = build_strategy(settings, selected)
        start = to_array_record(select_piece(current_state, piece))
        restore_strategy(strategy, _select_moments(moments, piece), start)
        replies = [build_reply(result, select_piece(result.state, piece)) for result in results]
        arrays, _ = strategy.aggregate_train(step, replies)
        if arrays is None:
            raise RuntimeError(f"Flower's {settings.name} returned no arrays")
        values = {name: value.float() for name, value in arrays.to_torch_state_dict().items()}
        insert_piece(state, current_state, piece, values)
        extracted = extract_moments(strategy, list(piece))
        for key, target in new_moments.items():
            if values := strip_prefix(key, extracted):
                insert_piece(target, current_state, piece, values)
    flat = {n: v for key, values in new_moments.items() for n, v in add_prefix(key, values).items()}
    return state, flat


def _count_selected(settings: KrumSettings, num_results: int) -> int:
    """Return how many clients Krum selects."""
    if isinstance(settings, MultiKrumSettings):
        return settings.selected
    return num_results - 2 * settings.malicious if isinstance(settings, BulyanSettings) else 1


def _select_moments(moments: StateDict, piece: Piece) -> StateDict:
    """Return the moments of a piece's elements; in the first round there are none."""
    selected: StateDict = {}
    for key in MOMENTS:
        previous = strip_prefix(key, moments)
        known = {name: elements for name, elements in piece.items() if name in previous}
        selected |= add_prefix(key, select_piece(previous, known))
    return selected


def to_array_record(state: Mapping[str, Tensor]) -> ArrayRecord:
    """Return float64 arrays in order, since Flower's wrappers match arrays by position."""
    return ArrayRecord({name: Array(value.double().numpy()) for name, value in state.items()})


def build_reply(result: WeightedState, state: Mapping[str, Tensor]) -> Message:
    """Build a reply for Flower's strategies.

    Args:
        result: A client's result, for its weight.
        state: The tensors to aggregate.

    Returns:
        The message, with float64 arrays.
    """
    metrics = MetricRecord({"num-examples": float(result.weight)})
    if result.was_clipped is not None:
        metrics[NORM_BIT_KEY] = int(result.was_clipped)
    content = RecordDict({"arrays": to_array_record(state), "metrics": metrics})
    return Message(content, dst_node_id=1, message_type=MessageType.TRAIN)

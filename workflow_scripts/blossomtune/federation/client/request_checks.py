"""Read the server's requests, and refuse what the invitation does not allow."""

from collections.abc import Mapping
from typing import Any

import torch
from flwr.app import RecordDict

from blossomtune.aggregation.layers import iter_factors
from blossomtune.aggregation.types import Factors
from blossomtune.config.conflicts import BASE_UPDATING_AGGREGATIONS
from blossomtune.errors import abbreviate
from blossomtune.federation.messages.records import (
    ADAPTER_RECORD,
    BASE_DELTAS_RECORD,
    CONTROL_RECORD,
    ROUND_RECORD,
)
from blossomtune.federation.messages.requests import (
    BASE_DELTA_PRECISION,
    TrainRequest,
    decode_request,
)
from blossomtune.federation.spec import FederationSpec
from blossomtune.named_tensors import StateDict
from blossomtune.privacy.record_keys import CLIPPING_NORM_KEY
from blossomtune.training.adapter import AdapterMismatchError, validate_state

_LAYOUT_BYTES = 2**20
"""Bytes for the names and headers of arrays."""

_ROUND_TYPES = {"round": int, "last": int, "earlier": int, "run": str}


class RequestError(ValueError):
    """The server's request is not one that the client's invitation allows."""


def read_request(
    content: RecordDict, spec: FederationSpec, initial_state: StateDict, max_round: int
) -> TrainRequest:
    """Decode a request, and compare it with the federation that the client has joined.

    Names and shapes of the adapter are compared when it is loaded.

    Args:
        content: Content of the message.
        spec: The federation.
        initial_state: The initial adapter at the server's rank.
        max_round: Number of the last round that can be requested.

    Returns:
        The request.

    Raises:
        RequestError: If the request is malformed, larger than it can be, in another precision, for
            a round that there is not, or holds values that are not finite.
    """
    try:
        _check_config(content, spec)
        precisions = _check_arrays(content, spec, initial_state)
        request = decode_request(content, precisions)
        _check_rounds(request, max_round)
        _check_base_deltas(request, initial_state)
        if request.server_control is not None:
            control = {name: initial_state[name] for name in request.server_control}
            validate_state(request.server_control, control)
    except (AdapterMismatchError, KeyError, TypeError, ValueError) as error:
        raise RequestError(f"the server's request is refused: {str(error)[:500]}") from None
    return request


def _check_config(content: RecordDict, spec: FederationSpec) -> None:
    """Check names and types of the settings of a round."""
    if set(content.config_records) != {ROUND_RECORD} or content.metric_records:
        raise ValueError("it has other records than a round and arrays")
    config = dict(content.config_records[ROUND_RECORD])
    norm = config.pop(CLIPPING_NORM_KEY, None)
    if norm is not None:
        _check_clipping_norm(norm, spec)
    if {name: type(value) for name, value in config.items()} != _ROUND_TYPES:
        raise ValueError(
            f"its settings are {abbreviate(config, 200)}; known: {', '.join(_ROUND_TYPES)}"
        )


def _check_clipping_norm(norm: Any, spec: FederationSpec) -> None:
    privacy = spec.federation.privacy
    if privacy is None or privacy.side == "server":
        raise ValueError("it has a clipping norm, and clients do not clip here")
    if type(norm) is not float or not 0 < norm < float("inf"):
        raise ValueError(f"its clipping norm is {abbreviate(norm)}")
    if privacy.clipping == "fixed" and norm != privacy.clipping_norm:
        raise ValueError(f"its clipping norm is {norm}, and {privacy.clipping_norm} was agreed on")


def _check_arrays(
    content: RecordDict, spec: FederationSpec, initial_state: StateDict
) -> dict[str, str]:
    """Check names and sizes of the records of arrays; return the precisions that they must have."""
    federation = spec.federation
    precision = federation.communication.precision
    size = 4 * sum(value.numel() for value in initial_state.values()) + _LAYOUT_BYTES
    precisions: dict[str, str] = {ADAPTER_RECORD: precision}
    sizes = {ADAPTER_RECORD: size}
    if federation.strategy.name == "scaffold":
        precisions[CONTROL_RECORD], sizes[CONTROL_RECORD] = "float32", size
    if federation.aggregation in BASE_UPDATING_AGGREGATIONS:
        precisions[BASE_DELTAS_RECORD] = BASE_DELTA_PRECISION[precision]
        sizes[BASE_DELTAS_RECORD] = size * federation.rounds * (len(spec.clients) + 1)
    if ADAPTER_RECORD not in content.array_records:
        raise ValueError("it has no adapter")
    for name, record in content.array_records.items():
        if name not in sizes:
            raise ValueError(f"it has arrays {abbreviate(name)}; known: {', '.join(sizes)}")
        num_bytes = sum(len(array.data) + len(key) for key, array in record.items())
        if num_bytes > sizes[name]:
            raise ValueError(f"{name} has {num_bytes} bytes; at most {sizes[name]} are possible")
    return precisions


def _check_rounds(request: TrainRequest, max_round: int) -> None:
    number, last = request.round, request.last_participation
    if not 1 <= number <= max_round:
        raise ValueError(f"round {abbreviate(number)} is not one of 1 to {max_round}")
    if not 0 <= last < number:
        raise ValueError(f"the client's round {abbreviate(last)} is not before round {number}")
    if not 0 <= request.sampled_rounds < number:
        earlier = abbreviate(request.sampled_rounds)
        raise ValueError(f"the client was in {earlier} rounds before round {number}")


def _check_base_deltas(request: TrainRequest, initial_state: StateDict) -> None:
    """Check rounds, layers, shapes and values of the updates of the base weights."""
    layers = dict(iter_factors(initial_state))
    for number, deltas in request.base_deltas.items():
        if not request.last_participation <= number < request.round:
            raise ValueError(
                f"it has a base update of round {number}; those from round "
                f"{request.last_participation} to {request.round - 1} are new"
            )
        _check_layers(deltas, layers)


def _check_layers(deltas: Mapping[str, Factors], layers: Mapping[str, Factors]) -> None:
    for layer, (b, a) in deltas.items():
        if layer not in layers:
            raise ValueError(f"it has a base update of {abbreviate(layer)}, which has no adapter")
        rows, columns = len(layers[layer][0]), layers[layer][1].shape[1]
        if b.dim() != 2 or a.dim() != 2 or (len(b), a.shape[1]) != (rows, columns):
            raise ValueError(f"the base update of {layer} is not ({rows}, r) and (r, {columns})")
        if b.shape[1] != len(a) or not (torch.isfinite(b).all() and torch.isfinite(a).all()):
            raise ValueError(f"the base update of {layer} does not fit together or is not finite")

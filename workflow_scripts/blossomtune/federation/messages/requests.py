"""Encode and decode the server's messages to clients."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from blossomtune.federation.messages import codec
from blossomtune.federation.messages.base_deltas import (
    BaseDeltas,
    flatten_base_deltas,
    unflatten_base_deltas,
)
from blossomtune.federation.messages.records import (
    ADAPTER_RECORD,
    BASE_DELTAS_RECORD,
    CONTROL_RECORD,
    ROUND_RECORD,
)
from blossomtune.named_tensors import StateDict

BASE_DELTA_PRECISION = {"float32": "float32", "bfloat16": "bfloat16", "int8": "bfloat16"}
"""Precision of base updates, by that of adapters. int8 needs a residual that is sent later, and a
base update is sent only once."""


@dataclass(frozen=True)
class TrainRequest:
    """Request to train or evaluate the global adapter.

    Attributes:
        round: Number of the round, from 1.
        last_participation: Last earlier round in which the server accepted the client's reply; 0
            if there is none.
        sampled_rounds: Number of earlier rounds in which the client was sampled. Its rows go on
            from there.
        run_name: Identifier of the run, 16 hexadecimal digits; the client's state belongs to it.
        state: Global adapter at the client's rank, without tensors that never change.
        base_deltas: Updates of the base weights since ``last_participation``.
        server_control: SCAFFOLD's control variate c, by the adapter's names.
    """

    round: int
    last_participation: int
    sampled_rounds: int
    run_name: str
    state: StateDict
    base_deltas: BaseDeltas = field(default_factory=dict)
    server_control: StateDict | None = None


def encode_request(
    adapter: ArrayRecord,
    round_number: int,
    last_participation: int,
    sampled_rounds: int,
    run_name: str,
    *,
    base_deltas: ArrayRecord | None = None,
    server_control: ArrayRecord | None = None,
    extra_config: Mapping[str, float] | None = None,
) -> RecordDict:
    """Encode a message to a client.

    Args:
        adapter: The encoded adapter.
        round_number: Number of the round, from 1.
        last_participation: Last earlier round in which the server accepted the client's reply.
        sampled_rounds: Number of earlier rounds in which the client was sampled.
        run_name: Identifier of the run.
        base_deltas: Encoded updates of the base weights, if there are any.
        server_control: Encoded control variate of SCAFFOLD, if clients need it.
        extra_config: Settings of Flower's mods on the client.

    Returns:
        Content of the message.
    """
    config = ConfigRecord(
        {
            "round": round_number,
            "last": last_participation,
            "earlier": sampled_rounds,
            "run": run_name,
            **(extra_config or {}),
        }
    )
    content = RecordDict({ADAPTER_RECORD: adapter, ROUND_RECORD: config})
    for name, record in ((BASE_DELTAS_RECORD, base_deltas), (CONTROL_RECORD, server_control)):
        if record is not None:
            content[name] = record
    return content


def decode_request(
    content: RecordDict, precisions: Mapping[str, str] | None = None
) -> TrainRequest:
    """Decode a message from the server.

    Args:
        content: Content of the message.
        precisions: The precision that each record of arrays must have; None for any.

    Returns:
        The request.

    Raises:
        ValueError: If the run's name is not valid, since the client names a folder after it; or if
            an array is malformed or has another precision.
    """
    config, arrays = content.config_records[ROUND_RECORD], content.array_records
    run_name = str(config["run"])
    if not re.fullmatch(r"[0-9a-f]{16}", run_name):
        raise ValueError(f"the server's message is of run {run_name!r}, which is no run's name")
    precisions = precisions or {}
    decoded = {name: codec.decode(array, precisions.get(name)) for name, array in arrays.items()}
    return TrainRequest(
        round=cast(int, config["round"]),
        last_participation=cast(int, config["last"]),
        sampled_rounds=cast(int, config["earlier"]),
        run_name=run_name,
        state=decoded[ADAPTER_RECORD],
        base_deltas=unflatten_base_deltas(decoded.get(BASE_DELTAS_RECORD, {})),
        server_control=decoded.get(CONTROL_RECORD),
    )


def encode_base_deltas(base_deltas: BaseDeltas, precision: str) -> ArrayRecord:
    """Encode updates of the base weights.

    Args:
        base_deltas: The updates.
        precision: Precision of adapters in messages.

    Returns:
        The record.
    """
    return codec.encode(flatten_base_deltas(base_deltas), BASE_DELTA_PRECISION[precision])[0]

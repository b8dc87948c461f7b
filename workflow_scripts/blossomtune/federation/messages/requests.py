"""TODO docstring."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

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
"""What is added to a base stays there: nothing of it can be sent later, as int8 would want."""


@dataclass(frozen=True)
class TrainRequest:
    """What the server asks of a client in a round.

    Attributes:
        round: 1, 2, …
        last: the last round before it that the server has an answer of this client from; 0 if none.
        run: the name of this way to train; what clients keep belongs to it.
        state: the global adapter, at the client's rank; what the client knows itself is left out.
        folded: by round since ``last``, what has been added to the base's weights since.
        control: SCAFFOLD's c, by the adapter's names.
    """

    round: int
    last_participation: int
    run_name: str
    state: StateDict
    base_deltas: BaseDeltas = field(default_factory=dict)
    server_control: StateDict | None = None


def encode_request(
    adapter: ArrayRecord,
    round_number: int,
    last_participation: int,
    run_name: str,
    *,
    base_deltas: ArrayRecord | None = None,
    server_control: ArrayRecord | None = None,
    extra_config: Mapping[str, float] | None = None,
) -> RecordDict:
    """The content of a message to a client."""
    said = ConfigRecord(
        {"round": round_number, "last": last_participation, "run": run_name, **(extra_config or {})}
    )
    content = RecordDict({ADAPTER_RECORD: adapter, ROUND_RECORD: said})
    for name, record in ((BASE_DELTAS_RECORD, base_deltas), (CONTROL_RECORD, server_control)):
        if record is not None:
            content[name] = record
    return content


def decode_request(content: RecordDict) -> TrainRequest:
    """What a client is asked.

    Raises:
        ValueError: where the run's name is none, since a client makes a folder of it.
    """
    run = str(content[ROUND_RECORD]["run"])
    if not re.fullmatch(r"[0-9a-f]{16}", run):
        raise ValueError(f"the server's message is of run {run!r}, which is no run's name")
    return TrainRequest(
        round=int(content[ROUND_RECORD]["round"]),
        last_participation=int(content[ROUND_RECORD]["last"]),
        run_name=run,
        state=codec.decode(content[ADAPTER_RECORD]),
        base_deltas=unflatten_base_deltas(codec.decode(content[BASE_DELTAS_RECORD]))
        if BASE_DELTAS_RECORD in content
        else {},
        server_control=codec.decode(content[CONTROL_RECORD]) if CONTROL_RECORD in content else None,
    )


def encode_base_deltas(base_deltas: BaseDeltas, precision: str) -> ArrayRecord:
    """Updates of the base as they travel."""
    return codec.encode(flatten_base_deltas(base_deltas), BASE_DELTA_PRECISION[precision])[0]

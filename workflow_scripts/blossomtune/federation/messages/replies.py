"""What travels: the contents of Flower's messages, packed on one side and read on the other.

To a client go the adapter at its rank, what was added to the base since its last round, and
SCAFFOLD's control; back come the trained part of the adapter and numbers. In a precision below
float32 clients send by how much the adapter changed, which needs fewer digits.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from flwr.app import MetricRecord, RecordDict

from blossomtune.federation.messages import codec
from blossomtune.federation.messages.records import ADAPTER_RECORD, CONTROL_RECORD, METRICS_RECORD
from blossomtune.named_tensors import StateDict, add_prefix, strip_prefix
from blossomtune.privacy.record_keys import NORM_BIT_KEY
from blossomtune.training.adapter import validate_state

TRAIN_METRICS = (
    *("num-examples", "num-tokens", "num-steps", "train-loss", "batch-size", "seconds"),
    "gpu-memory",
)
"""What a client's answer says besides tensors; the last is in bytes, and 0 on a CPU."""


MAX_EVALUATE_REPLY_BYTES = 1000
"""Bytes that no client's score of an adapter goes beyond."""


@dataclass(frozen=True)
class TrainReply:
    """What a client has to say after a round.

    Attributes:
        start: the trained part of the adapter as it was.
        state: the same after training.
        control: by how much SCAFFOLD's c_i changed, or None.
        metrics: numbers of the round.
        kept: what the client keeps for its next round.
    """

    initial_state: StateDict
    state: StateDict
    control_delta: StateDict | None
    metrics: dict[str, float]
    client_state: StateDict


@dataclass(frozen=True)
class ValidatedReply:
    """A client's answer, checked; ``clipped`` is what Flower's mod says of it, or None."""

    state: StateDict
    control_variate_delta: StateDict | None
    metrics: dict[str, Any]
    was_clipped: bool | None


def encode_train_reply(reply: TrainReply, precision: str) -> tuple[RecordDict, StateDict]:
    """The content of a client's message, and what the client keeps for its next round."""
    kept = dict(reply.client_state)
    if precision == "float32":
        record, _ = codec.encode(reply.state, precision)
    else:
        change = {name: value - reply.initial_state[name] for name, value in reply.state.items()}
        record, residual = codec.encode(change, precision, strip_prefix("residual", kept))
        if precision == "int8":  # changes lose no more than a 256th of themselves as bfloat16
            kept |= add_prefix("residual", residual)
    content = RecordDict({ADAPTER_RECORD: record, METRICS_RECORD: MetricRecord(reply.metrics)})
    if reply.control_delta is not None:
        content[CONTROL_RECORD] = codec.encode(reply.control_delta, "float32")[0]
    return content, kept


def decode_train_reply(
    content: RecordDict, start: StateDict, precision: str, *, with_control: bool
) -> tuple[StateDict, StateDict | None]:
    """The trained part of a client's adapter, and SCAFFOLD's change, checked.

    Args:
        content: of the client's message.
        start: the trained part as the client got it.
        precision: of the federation.
        scaffold: whether a control is expected.

    Raises:
        ValueError: where something is missing, malformed or not finite.
    """
    wanted = [ADAPTER_RECORD, METRICS_RECORD, *([CONTROL_RECORD] if with_control else [])]
    if missing := [name for name in wanted if name not in content]:
        raise ValueError(f"the reply holds no {missing[0]}")
    state = codec.decode(content[ADAPTER_RECORD])
    validate_state(state, start)
    if precision != "float32":
        state = {name: start[name] + value for name, value in state.items()}
        validate_state(state, start)
    if not with_control:
        return state, None
    control = codec.decode(content[CONTROL_RECORD])
    validate_state(control, start)
    return state, control


def decode_train_metrics(content: RecordDict) -> dict[str, Any]:
    """What a client says of its training, as history.json has it.

    Raises:
        ValueError: where a number is missing or senseless.
    """
    said = content[METRICS_RECORD]
    numbers = {name: said.get(name) for name in TRAIN_METRICS}
    for name, value in numbers.items():
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise ValueError(f"the reply says {value!r} for {name}")
    if not numbers["num-examples"]:
        raise ValueError("the reply comes from no examples")
    memory = math.ceil(numbers["gpu-memory"] / 1e6)
    return {
        "examples": int(numbers["num-examples"]),
        "tokens": int(numbers["num-tokens"]),
        "steps": int(numbers["num-steps"]),
        "batch_size": int(numbers["batch-size"]),
        "train_loss": round(numbers["train-loss"], 6),
        "seconds": round(numbers["seconds"], 3),
        "gpu_memory_mb": memory or None,
    }


def decode_evaluate_metrics(content: RecordDict) -> dict[str, Any] | None:
    """A client's score of the adapter that it was sent; None for nonsense."""
    said = content.get(METRICS_RECORD, {})
    loss, rows = said.get("loss"), said.get("rows")
    if not all(isinstance(v, float) and math.isfinite(v) and v > 0 for v in (loss, rows)):
        return None
    return {"loss": round(loss, 6), "rows": int(rows)}


def compute_max_reply_bytes(
    start: StateDict, precision: str, *, with_control: bool, with_norm_bit: bool
) -> int:
    """Bytes that a client's answer does not go beyond, whatever its numbers are.

    Args:
        start: the trained part as the client gets it.
        precision: of the federation.
        scaffold: whether a control comes with it.
        norm_bit: whether it says if it was clipped (``privacy.sends_norm_bit``).
    """
    # no two pieces alike: Flower sends what stands there twice only once
    generator = torch.Generator().manual_seed(0)
    state = {n: torch.randn(v.shape, generator=generator) for n, v in start.items()}
    content = RecordDict({ADAPTER_RECORD: codec.encode(state, precision)[0]})
    numbers = [*TRAIN_METRICS, *([NORM_BIT_KEY] if with_norm_bit else [])]
    content[METRICS_RECORD] = MetricRecord({name: i / 3 for i, name in enumerate(numbers)})
    if with_control:
        other = {name: value + 1 for name, value in state.items()}
        content[CONTROL_RECORD] = codec.encode(other, "float32")[0]
    return codec.count_message_bytes(content)


def read_norm_bit(content: RecordDict) -> bool | None:
    numbers = content[METRICS_RECORD]
    return bool(numbers[NORM_BIT_KEY]) if NORM_BIT_KEY in numbers else None

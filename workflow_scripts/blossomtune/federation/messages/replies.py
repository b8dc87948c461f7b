"""Encode and decode clients' replies to the server.

Below float32, a client sends the change of its adapter, which needs fewer bits than the values.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from flwr.app import MetricRecord, RecordDict
from torch import Tensor

from blossomtune.federation.messages import codec
from blossomtune.federation.messages.records import ADAPTER_RECORD, CONTROL_RECORD, METRICS_RECORD
from blossomtune.named_tensors import StateDict, add_prefix, strip_prefix
from blossomtune.privacy.record_keys import NORM_BIT_KEY
from blossomtune.training.adapter import validate_state

TRAIN_METRICS = (
    *("num-examples", "num-tokens", "num-steps", "train-loss", "batch-size", "seconds"),
    "gpu-memory",
)
"""Metrics of a train reply; ``gpu-memory`` is in bytes, and 0 on a CPU."""

MAX_EVALUATE_REPLY_BYTES = 1000
"""Upper bound for the size of an evaluate reply."""


@dataclass(frozen=True)
class TrainReply:
    """Result of a client's training in one round.

    Attributes:
        initial_state: Trained part of the adapter before training.
        state: The same tensors after training.
        control_delta: Change of SCAFFOLD's control variate c_i, if there is one.
        metrics: Values of ``TRAIN_METRICS``.
        client_state: Tensors that the client needs in its next round.
    """

    initial_state: StateDict
    state: StateDict
    control_delta: StateDict | None
    metrics: dict[str, float]
    client_state: StateDict


@dataclass(frozen=True)
class ValidatedReply:
    """A client's train reply that the server accepts.

    Attributes:
        state: Trained part of the client's adapter.
        control_delta: Change of SCAFFOLD's control variate c_i, if there is one.
        metrics: Metrics as in the history.
        was_clipped: Whether Flower's mod clipped the update; None if it does not report that.
    """

    state: Mapping[str, Tensor]
    control_delta: Mapping[str, Tensor] | None
    metrics: dict[str, Any]
    was_clipped: bool | None


def encode_train_reply(reply: TrainReply, precision: str) -> tuple[RecordDict, StateDict]:
    """Encode a client's reply.

    Args:
        reply: Result of the training.
        precision: Precision of adapters in messages.

    Returns:
        Content of the message, and the client's state with the new residual.
    """
    client_state = dict(reply.client_state)
    if precision == "float32":
        record, _ = codec.encode(reply.state, precision)
    else:
        change = {name: value - reply.initial_state[name] for name, value in reply.state.items()}
        previous = strip_prefix("residual", client_state)
        record, residual = codec.encode(change, precision, previous)
        if precision == "int8":  # bfloat16 loses at most a 256th of a change
            client_state |= add_prefix("residual", residual)
    metrics = MetricRecord({**reply.metrics})
    content = RecordDict({ADAPTER_RECORD: record, METRICS_RECORD: metrics})
    if reply.control_delta is not None:
        content[CONTROL_RECORD] = codec.encode(reply.control_delta, "float32")[0]
    return content, client_state


def decode_train_reply(
    content: RecordDict, start: StateDict, precision: str, *, with_control: bool
) -> ValidatedReply:
    """Decode and validate a client's reply.

    Args:
        content: Content of the message.
        start: Trained part of the adapter as the client received it.
        precision: Precision of adapters in messages.
        with_control: Expect a change of SCAFFOLD's control variate.

    Returns:
        The reply, with the trained tensors at the client's rank.

    Raises:
        ValueError: If a record is missing, malformed or not finite.
    """
    arrays = content.array_records
    required = [ADAPTER_RECORD, *([CONTROL_RECORD] if with_control else [])]
    missing = [name for name in required if name not in arrays]
    if METRICS_RECORD not in content.metric_records:
        missing.append(METRICS_RECORD)
    if missing:
        raise ValueError(f"the reply holds no {missing[0]}")
    state = codec.decode(arrays[ADAPTER_RECORD])
    validate_state(state, start)
    if precision != "float32":
        state = {name: start[name] + value for name, value in state.items()}
        validate_state(state, start)
    control = None
    if with_control:
        control = codec.decode(arrays[CONTROL_RECORD])
        validate_state(control, start)
    metrics = content.metric_records[METRICS_RECORD]
    was_clipped = bool(metrics[NORM_BIT_KEY]) if NORM_BIT_KEY in metrics else None
    return ValidatedReply(state, control, _decode_train_metrics(metrics), was_clipped)


def _decode_train_metrics(record: MetricRecord) -> dict[str, Any]:
    """Decode and validate a client's metrics.

    Args:
        record: Metrics of the reply.

    Returns:
        Metrics with the names of the history.

    Raises:
        ValueError: If a value is missing, negative or not finite.
    """
    metrics: dict[str, Any] = {name: record.get(name) for name in TRAIN_METRICS}
    for name, value in metrics.items():
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise ValueError(f"the reply says {value!r} for {name}")
    if not metrics["num-examples"]:
        raise ValueError("the reply comes from no examples")
    return {
        "examples": int(metrics["num-examples"]),
        "tokens": int(metrics["num-tokens"]),
        "steps": int(metrics["num-steps"]),
        "batch_size": int(metrics["batch-size"]),
        "train_loss": round(metrics["train-loss"], 6),
        "seconds": round(metrics["seconds"], 3),
        "gpu_memory_mb": math.ceil(metrics["gpu-memory"] / 1e6) or None,
    }


def decode_evaluate_reply(content: RecordDict) -> dict[str, Any] | None:
    """Return loss and number of rows in a client's message; None if they are not positive."""
    metrics: dict[str, Any] = dict(content.metric_records.get(METRICS_RECORD, {}))
    values = [metrics.get(name) for name in ("loss", "rows")]
    if not all(isinstance(v, float) and math.isfinite(v) and v > 0 for v in values):
        return None
    return {"loss": round(metrics["loss"], 6), "rows": int(metrics["rows"])}


def compute_max_reply_bytes(
    start: StateDict, precision: str, *, with_control: bool, with_norm_bit: bool
) -> int:
    """Compute an upper bound for the size of a client's train reply.

    Args:
        start: Trained part of the adapter as the client receives it.
        precision: Precision of adapters in messages.
        with_control: Include a change of SCAFFOLD's control variate.
        with_norm_bit: Include the bit of Flower's adaptive clipping.

    Returns:
        Number of bytes.
    """
    # Random values, because Flower sends equal arrays only once.
    generator = torch.Generator().manual_seed(0)
    state = {n: torch.randn(v.shape, generator=generator) for n, v in start.items()}
    content = RecordDict({ADAPTER_RECORD: codec.encode(state, precision)[0]})
    names = [*TRAIN_METRICS, *([NORM_BIT_KEY] if with_norm_bit else [])]
    content[METRICS_RECORD] = MetricRecord({name: i / 3 for i, name in enumerate(names)})
    if with_control:
        control = {name: value + 1 for name, value in state.items()}
        content[CONTROL_RECORD] = codec.encode(control, "float32")[0]
    return codec.count_message_bytes(content)

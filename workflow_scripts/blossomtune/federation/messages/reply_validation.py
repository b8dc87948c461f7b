"""Decode and validate what clients send. A client may send anything.

A reply has the records that it must have and no other, tensors of the agreed names, shapes and
precision, and metrics that an honest client can have.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import MetricRecord, RecordDict
from torch import Tensor

from blossomtune.errors import abbreviate
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.metric_ranges import Range, read_metrics
from blossomtune.federation.messages.records import ADAPTER_RECORD, CONTROL_RECORD, METRICS_RECORD
from blossomtune.federation.messages.reply_limits import ReplyLimits
from blossomtune.federation.messages.update_norm import compute_distance, require_norm
from blossomtune.named_tensors import StateDict
from blossomtune.privacy.record_keys import NORM_BIT_KEY
from blossomtune.training.adapter import validate_state

NORM_BIT_RANGE = Range(0, 1, is_whole=True)


@dataclass(frozen=True)
class TrainReplySchema:
    """Form and limits of a client's train reply.

    Attributes:
        start: Trained part of the adapter as the client received it.
        precision: Precision of adapters in messages.
        limits: Limits of its values.
        server_control: SCAFFOLD's control variate c, if the reply has a change of the client's.
        learning_rate: Learning rate of the round.
        with_norm_bit: Whether the client reports if its update was clipped.
    """

    start: StateDict
    precision: str
    limits: ReplyLimits
    server_control: StateDict | None = None
    learning_rate: float = 0.0
    with_norm_bit: bool = False


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


def decode_train_reply(content: RecordDict, schema: TrainReplySchema) -> ValidatedReply:
    """Decode and validate a client's reply.

    Args:
        content: Content of the message.
        schema: What it must be.

    Returns:
        The reply, with the trained tensors at the client's rank.

    Raises:
        ValueError: If a record is missing, unknown or malformed, or a value is not possible.
    """
    start, server_control = schema.start, schema.server_control
    control_names = [] if server_control is None else [CONTROL_RECORD]
    arrays = content.array_records
    metric_record = _require_records(content, [ADAPTER_RECORD, *control_names])
    ranges = dict(schema.limits.train)
    if schema.with_norm_bit:
        ranges[NORM_BIT_KEY] = NORM_BIT_RANGE
    metrics = read_metrics(metric_record, ranges)
    state = codec.decode(arrays[ADAPTER_RECORD], schema.precision)
    validate_state(state, start)
    if schema.precision != "float32":
        state = {name: start[name] + value for name, value in state.items()}
        validate_state(state, start)
    num_elements = sum(value.numel() for value in start.values())
    max_norm = schema.limits.compute_max_update_norm(metrics["num-steps"], num_elements)
    require_norm("its update", compute_distance(state, start), max_norm)
    control = None
    if server_control is not None:
        control = codec.decode(arrays[CONTROL_RECORD], "float32")
        validate_state(control, start)
        # c_i⁺ − c_i + c = (x − y) / (K lr), so the limit of x − y is that of the control variate
        negative = {name: -value for name, value in server_control.items()}
        distance = compute_distance(control, negative) * metrics["num-steps"] * schema.learning_rate
        require_norm("its control variate's change", distance, max_norm)
    bit = metrics.get(NORM_BIT_KEY)
    was_clipped = None if bit is None else bool(bit)
    return ValidatedReply(state, control, _rename_metrics(metrics), was_clipped)


def decode_evaluate_reply(content: RecordDict, limits: ReplyLimits) -> dict[str, Any]:
    """Decode and validate a client's evaluation.

    Args:
        content: Content of the message.
        limits: Limits of its values.

    Returns:
        ``loss`` in nats per token and the number of ``rows``.

    Raises:
        ValueError: If a record is missing or unknown, or a value is not possible.
    """
    metrics = read_metrics(_require_records(content, []), limits.evaluate)
    return {"loss": round(metrics["loss"], 6), "rows": int(metrics["rows"])}


def decode_client_number(content: RecordDict, num_clients: int) -> int:
    """Decode and validate a client's reply to the query which client it is.

    Args:
        content: Content of the message.
        num_clients: Number of clients of the federation.

    Returns:
        The client's number.

    Raises:
        ValueError: If the reply contains no valid number.
    """
    metrics = content.metric_records.get(METRICS_RECORD)
    client = metrics.get("client") if metrics else None
    if not isinstance(client, int | float) or client not in range(num_clients):
        raise ValueError(f"a node says that it is client {abbreviate(client)}, of {num_clients}")
    return int(client)


def _require_records(content: RecordDict, array_names: list[str]) -> MetricRecord:
    """Return the metrics of a reply that has these arrays and metrics, and nothing else."""
    missing = [name for name in array_names if name not in content.array_records]
    if METRICS_RECORD not in content.metric_records:
        missing.append(METRICS_RECORD)
    if missing:
        raise ValueError(f"the reply holds no {missing[0]}")
    if unknown := sorted(set(content) - {*array_names, METRICS_RECORD}):
        raise ValueError(f"the reply holds the unknown record {abbreviate(unknown[0])}")
    return content.metric_records[METRICS_RECORD]


def _rename_metrics(metrics: Mapping[str, float]) -> dict[str, Any]:
    """Return a train reply's metrics with the names of the history."""
    return {
        "examples": int(metrics["num-examples"]),
        "tokens": int(metrics["num-tokens"]),
        "steps": int(metrics["num-steps"]),
        "batch_size": int(metrics["batch-size"]),
        "train_loss": round(metrics["train-loss"], 6),
        "seconds": round(metrics["seconds"], 3),
        "gpu_memory_mb": math.ceil(metrics["gpu-memory"] / 1e6) or None,
    }

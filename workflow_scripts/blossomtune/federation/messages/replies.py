"""Encode clients' replies to the server.

Below float32, a client sends the change of its adapter, which needs fewer bits than the values.
"""

from dataclasses import dataclass

import torch
from flwr.app import MetricRecord, RecordDict

from blossomtune.federation.messages import codec
from blossomtune.federation.messages.records import ADAPTER_RECORD, CONTROL_RECORD, METRICS_RECORD
from blossomtune.named_tensors import StateDict, add_prefix, strip_prefix
from blossomtune.privacy.record_keys import NORM_BIT_KEY

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

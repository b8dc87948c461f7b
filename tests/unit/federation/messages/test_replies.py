import math

import pytest
import torch
from flwr.app import MetricRecord, RecordDict

from blossomtune.federation.messages import codec, replies
from blossomtune.federation.messages.replies import TrainReply
from blossomtune.privacy.record_keys import NORM_BIT_KEY

START = {"a.lora_A.weight": torch.ones(2, 3), "a.lora_B.weight": torch.zeros(4, 2)}
METRICS = dict.fromkeys(replies.TRAIN_METRICS, 2.0)


def encode(precision="float32", client_state=None, control=None, **metrics):
    """Return trained tensors, the content of a reply with them, and the client's state."""
    state = {name: value + 0.25 for name, value in START.items()}
    reply = TrainReply(START, state, control, METRICS | metrics, client_state or {})
    return state, *replies.encode_train_reply(reply, precision)


def test_int8_residual_is_stored_and_sent_later():
    client_state = {"residual/a.lora_A.weight": torch.full((2, 3), 0.5), "other": torch.ones(1)}
    _, content, new_state = encode("int8", client_state)
    change = codec.decode(content["adapter"])
    assert change["a.lora_A.weight"].mean() == pytest.approx(0.75, rel=1e-5)
    assert new_state["residual/a.lora_A.weight"].abs().max() < 0.01
    assert "other" in new_state


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("scaffold", [False, True])
@pytest.mark.parametrize("norm_bit", [False, True])
def test_reply_is_at_most_as_large_as_computed_before(precision, scaffold, norm_bit):
    generator = torch.Generator().manual_seed(1)
    state = {n: torch.randn(v.shape, generator=generator) for n, v in START.items()}
    control = {n: v * 3 for n, v in state.items()} if scaffold else None
    reply = TrainReply(START, state, control, METRICS | {"seconds": math.pi}, {})
    content, _ = replies.encode_train_reply(reply, precision)
    if norm_bit:
        content["metrics"][NORM_BIT_KEY] = 1
    expected = replies.compute_max_reply_bytes(
        START, precision, with_control=scaffold, with_norm_bit=norm_bit
    )
    assert expected - 8 <= codec.count_message_bytes(content) <= expected


def test_evaluation_is_smaller_than_its_bound():
    content = RecordDict({"metrics": MetricRecord({"loss": 0.123456789, "rows": 12345.0})})
    assert codec.count_message_bytes(content) < replies.MAX_EVALUATE_REPLY_BYTES

import math

import pytest
import torch
from flwr.app import ConfigRecord, MetricRecord, RecordDict

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


def decode(content, precision="float32", with_control=False):
    return replies.decode_train_reply(content, START, precision, with_control=with_control)


def encode_adapter(state):
    return codec.encode(state, "float32")[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_reply_is_decoded_as_it_was_encoded(precision):
    state, content, _ = encode(precision, control=START)
    reply = decode(content, precision, with_control=True)
    for name in START:
        torch.testing.assert_close(reply.state[name], state[name], rtol=0, atol=1e-6)
        assert torch.equal(reply.control_delta[name], START[name])
    assert reply.metrics == {
        **dict.fromkeys(("examples", "tokens", "steps", "batch_size"), 2),
        **{"train_loss": 2.0, "seconds": 2.0, "gpu_memory_mb": 1},
    }


def test_control_is_read_only_if_it_is_expected():
    _, content, _ = encode(control=START)
    assert decode(content).control_delta is None


def test_int8_residual_is_stored_and_sent_later():
    client_state = {"residual/a.lora_A.weight": torch.full((2, 3), 0.5), "other": torch.ones(1)}
    _, content, new_state = encode("int8", client_state)
    reply = decode(content, "int8")
    assert reply.state["a.lora_A.weight"].mean() == pytest.approx(1.75, rel=1e-5)
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


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.pop("adapter"), "holds no adapter"),
        (lambda c: c.update(adapter=MetricRecord({"x": 1})), "holds no adapter"),
        (lambda c: c.pop("metrics"), "holds no metrics"),
        (lambda c: c.update(adapter=encode_adapter({})), "2 tensors are missing"),
        (
            lambda c: c.update(adapter=encode_adapter({n: v[:1] for n, v in START.items()})),
            "instead of",
        ),
        (
            lambda c: c.update(adapter=encode_adapter({n: v / 0 for n, v in START.items()})),
            "not finite",
        ),
    ],
)
def test_reply_with_wrong_tensors_is_rejected(spoil, message):
    _, content, _ = encode()
    spoil(content)
    with pytest.raises(ValueError, match=message):
        decode(content)


def test_reply_without_expected_control_is_rejected():
    _, content, _ = encode()
    with pytest.raises(ValueError, match="holds no control"):
        decode(content, with_control=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("num-examples", 0.0), ("num-tokens", -1.0), ("train-loss", math.nan), ("seconds", math.inf)],
)
def test_reply_with_invalid_metric_is_rejected(name, value):
    _, content, _ = encode(**{name: value})
    with pytest.raises(ValueError, match="the reply"):
        decode(content)


def test_reply_without_metric_is_rejected():
    _, content, _ = encode()
    content["metrics"] = MetricRecord({"x": 1.0})
    with pytest.raises(ValueError, match="None for num-examples"):
        decode(content)


@pytest.mark.parametrize(("bit", "was_clipped"), [(None, None), (0, False), (1, True)])
def test_norm_bit_says_if_the_update_was_clipped(bit, was_clipped):
    _, content, _ = encode()
    if bit is not None:
        content["metrics"][NORM_BIT_KEY] = bit
    assert decode(content).was_clipped is was_clipped


@pytest.mark.parametrize(
    "metrics", [{}, {"loss": 1.0}, {"loss": math.nan, "rows": 3.0}, {"loss": 1.0, "rows": 0.0}]
)
def test_invalid_evaluation_is_none(metrics):
    content = RecordDict({"metrics": MetricRecord(metrics)})
    assert replies.decode_evaluate_reply(content) is None


def test_evaluation_without_metrics_is_none():
    content = RecordDict({"round": ConfigRecord({"round": 1})})
    assert replies.decode_evaluate_reply(content) is None


def test_evaluation_is_smaller_than_its_bound():
    content = RecordDict({"metrics": MetricRecord({"loss": 0.123456789, "rows": 12345.0})})
    assert replies.decode_evaluate_reply(content) == {"loss": 0.123457, "rows": 12345}
    assert codec.count_message_bytes(content) < replies.MAX_EVALUATE_REPLY_BYTES


@pytest.mark.parametrize(("num_bytes", "megabytes"), [(0.0, None), (2.5e9 + 1, 2501)])
def test_gpu_memory_is_reported_only_on_a_gpu(num_bytes, megabytes):
    _, content, _ = encode(**{"gpu-memory": num_bytes})
    assert decode(content).metrics["gpu_memory_mb"] == megabytes

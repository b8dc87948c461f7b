"""The server validates what clients send; a client may send anything."""

import math
from dataclasses import replace

import pytest
import torch
from federation_samples import federation_spec
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from blossomtune.federation.messages import codec, replies
from blossomtune.federation.messages.replies import TrainReply
from blossomtune.federation.messages.reply_limits import compute_reply_limits
from blossomtune.federation.messages.reply_validation import (
    TrainReplySchema,
    decode_client_number,
    decode_evaluate_reply,
    decode_train_reply,
)
from blossomtune.privacy.record_keys import NORM_BIT_KEY

START = {"a.lora_A.weight": torch.ones(2, 3), "a.lora_B.weight": torch.zeros(4, 2)}
CONTROL = {name: torch.full_like(value, 0.5) for name, value in START.items()}
METRICS = dict.fromkeys(replies.TRAIN_METRICS, 2.0)
LIMITS = compute_reply_limits(federation_spec(), 0)
SCHEMA = TrainReplySchema(START, "float32", LIMITS)
SCAFFOLD = replace(SCHEMA, server_control=CONTROL, learning_rate=0.1)


def encode(precision="float32", control=None, change=0.25, **metrics):
    """Return the trained tensors and the content of a reply with them."""
    state = {name: value + change for name, value in START.items()}
    reply = TrainReply(START, state, control, METRICS | metrics, {})
    return state, replies.encode_train_reply(reply, precision)[0]


def encode_adapter(state):
    return codec.encode(state, "float32")[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_reply_is_decoded_as_it_was_encoded(precision):
    state, content = encode(precision, control=START)
    reply = decode_train_reply(content, replace(SCAFFOLD, precision=precision))
    for name in START:
        torch.testing.assert_close(reply.state[name], state[name], rtol=0, atol=1e-6)
        assert torch.equal(reply.control_delta[name], START[name])
    assert reply.metrics == {
        **dict.fromkeys(("examples", "tokens", "steps", "batch_size"), 2),
        **{"train_loss": 2.0, "seconds": 2.0, "gpu_memory_mb": 1},
    }


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.pop("adapter"), "holds no adapter"),
        (lambda c: c.update(adapter=MetricRecord({"x": 1})), "holds no adapter"),
        (lambda c: c.pop("metrics"), "holds no metrics"),
        (lambda c: c.update(metrics=ConfigRecord({"x": 1})), "holds no metrics"),
        (lambda c: c.update(control=encode_adapter(START)), "the unknown record 'control'"),
        (lambda c: c.update(more=ConfigRecord()), "the unknown record 'more'"),
        (lambda c: c["metrics"].update(more=1.0), "the unknown metric 'more'"),
        (lambda c: c["metrics"].update({NORM_BIT_KEY: 1}), f"the unknown metric '{NORM_BIT_KEY}'"),
        (lambda c: c.update(adapter=encode_adapter({})), "2 tensors are missing"),
        (lambda c: c.update(adapter=ArrayRecord()), "2 tensors are missing"),
        (
            lambda c: c.update(adapter=encode_adapter(START | {"b": torch.ones(1)})),
            "1 tensors are unknown",
        ),
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
def test_reply_with_wrong_records_is_rejected(spoil, message):
    _, content = encode()
    spoil(content)
    with pytest.raises(ValueError, match=message):
        decode_train_reply(content, SCHEMA)


@pytest.mark.parametrize("agreed", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("sent", ["float32", "bfloat16", "int8"])
def test_precision_must_be_the_one_agreed_on(agreed, sent):
    _, content = encode(sent)
    schema = replace(SCHEMA, precision=agreed)
    if sent == agreed:
        decode_train_reply(content, schema)
        return
    with pytest.raises(ValueError, match=rf"are torch\.{sent}, and {agreed} was agreed on"):
        decode_train_reply(content, schema)


def test_precision_of_a_control_variate_is_float32():
    _, content = encode("int8", control=START)
    content["control"] = codec.encode(START, "int8")[0]
    with pytest.raises(ValueError, match=r"are torch\.int8, and float32 was agreed on"):
        decode_train_reply(content, replace(SCAFFOLD, precision="int8"))


def test_reply_without_expected_control_is_rejected():
    _, content = encode()
    with pytest.raises(ValueError, match="holds no control"):
        decode_train_reply(content, SCAFFOLD)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("num-examples", 0.0), ("num-examples", 1e18), ("num-examples", 10**18)],
        *[("num-steps", 0.0), ("num-steps", 1e3), ("num-steps", 1.5), ("num-tokens", -1.0)],
        *[("num-tokens", 1e300), ("batch-size", 0.0), ("batch-size", 9.0), ("batch-size", 1e300)],
        *[("train-loss", math.nan), ("train-loss", 1e300), ("train-loss", -1.0)],
        *[("seconds", math.inf), ("seconds", 1e300), ("gpu-memory", 1e300)],
        *[("gpu-memory", -math.inf), ("seconds", [1.0] * 100_000)],
    ],
)
def test_reply_with_impossible_metric_is_rejected(name, value):
    _, content = encode(**{name: value})
    with pytest.raises(ValueError, match=f"the reply says .* for {name}; .* is possible") as error:
        decode_train_reply(content, SCHEMA)
    assert len(str(error.value)) < 200


def test_reply_without_metric_is_rejected():
    _, content = encode()
    content["metrics"] = MetricRecord({"x": 1.0})
    with pytest.raises(ValueError, match="None for num-examples"):
        decode_train_reply(content, SCHEMA)


def test_smaller_batches_for_lack_of_memory_are_possible():
    _, content = encode(**{"batch-size": 1.0})
    assert decode_train_reply(content, SCHEMA).metrics["batch_size"] == 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_update_longer_than_allowed_is_rejected(precision):
    limits = replace(LIMITS, update_per_step=0.1)  # 0.2 per number in two steps
    schema = replace(SCHEMA, precision=precision, limits=limits)
    decode_train_reply(encode(precision, change=0.19)[1], schema)
    for change in (0.21, -0.21, 1e30):
        with pytest.raises(ValueError, match=r"its update has a norm of .*max_update_norm allows"):
            decode_train_reply(encode(precision, change=change)[1], schema)


def test_control_variate_that_no_update_explains_is_rejected():
    schema = replace(SCAFFOLD, limits=replace(LIMITS, update_per_step=1.0))

    def decode(value):
        """Decode a change of c_i with which (x - y) / (K lr) is this value in each number."""
        control = {name: value - c for name, c in CONTROL.items()}
        return decode_train_reply(encode(control=control)[1], schema)

    decode(9.9)  # 2 steps of 0.1 move each number by 1.98
    decode(-9.9)
    for value in (10.1, -10.1, 1e30):
        with pytest.raises(ValueError, match="its control variate's change has a norm of"):
            decode(value)


@pytest.mark.parametrize(("bit", "was_clipped"), [(0, False), (1, True)])
def test_norm_bit_says_if_the_update_was_clipped(bit, was_clipped):
    _, content = encode()
    assert decode_train_reply(content, SCHEMA).was_clipped is None
    content["metrics"][NORM_BIT_KEY] = bit
    schema = replace(SCHEMA, with_norm_bit=True)
    assert decode_train_reply(content, schema).was_clipped is was_clipped


@pytest.mark.parametrize("bit", [2, -1, 0.5, math.nan])
def test_other_norm_bit_is_rejected(bit):
    _, content = encode()
    content["metrics"][NORM_BIT_KEY] = bit
    with pytest.raises(ValueError, match=f"for {NORM_BIT_KEY}; a whole number from 0 to 1"):
        decode_train_reply(content, replace(SCHEMA, with_norm_bit=True))


@pytest.mark.parametrize(("num_bytes", "megabytes"), [(0.0, None), (2.5e9 + 1, 2501)])
def test_gpu_memory_is_reported_only_on_a_gpu(num_bytes, megabytes):
    _, content = encode(**{"gpu-memory": num_bytes})
    assert decode_train_reply(content, SCHEMA).metrics["gpu_memory_mb"] == megabytes


@pytest.mark.parametrize(
    "metrics",
    [
        *[{}, {"loss": 1.0}, {"loss": math.nan, "rows": 3.0}, {"loss": 1.0, "rows": 0.0}],
        *[{"loss": 1e300, "rows": 3.0}, {"loss": 1.0, "rows": 1e18}, {"loss": -1.0, "rows": 3.0}],
        *[{"loss": 1.0, "rows": 3.0, "more": 1.0}, {"loss": [1.0], "rows": 3.0}],
    ],
)
def test_invalid_evaluation_is_rejected(metrics):
    with pytest.raises(ValueError, match="the reply"):
        decode_evaluate_reply(RecordDict({"metrics": MetricRecord(metrics)}), LIMITS)


def test_evaluation_without_metrics_is_rejected():
    content = RecordDict({"round": ConfigRecord({"round": 1})})
    with pytest.raises(ValueError, match="holds no metrics"):
        decode_evaluate_reply(content, LIMITS)


def test_evaluation_is_rounded():
    content = RecordDict({"metrics": MetricRecord({"loss": 0.123456789, "rows": 12345.0})})
    assert decode_evaluate_reply(content, LIMITS) == {"loss": 0.123457, "rows": 12345}


def test_client_number_is_shown_shortly_if_it_is_none():
    content = RecordDict({"metrics": MetricRecord({"client": [1] * 100_000})})
    with pytest.raises(ValueError, match=r"it is client \[1, 1, .*, of 2") as error:
        decode_client_number(content, 2)
    assert len(str(error.value)) < 200


LAYOUTS = st.sampled_from([*encode()[1]["adapter"], codec.SCALES_NAME, "{}", "[1]"]) | st.text()
DTYPES = st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<u2", "|i1", "<i8", "|b1", "<c8", "<U1"])
SHAPES = st.just((14,)) | arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
ARRAYS = arrays.arrays(DTYPES, SHAPES).map(Array)
VALUES = st.floats() | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([1.0, 2.0])
RECORDS = (
    st.dictionaries(LAYOUTS, ARRAYS, max_size=3).map(ArrayRecord)
    | st.dictionaries(st.sampled_from(list(METRICS)) | st.text(), VALUES).map(MetricRecord)
    | st.fixed_dictionaries(dict.fromkeys(METRICS, VALUES)).map(MetricRecord)
    | st.dictionaries(st.text(), st.text()).map(ConfigRecord)
)
NAMES = st.sampled_from(["adapter", "control", "metrics"])


@given(
    records=st.dictionaries(NAMES | st.text(), RECORDS, max_size=4),
    sound=st.sets(NAMES),
    with_control=st.booleans(),
    precision=st.sampled_from(["float32", "bfloat16", "int8"]),
)
def test_any_records_are_valid_or_an_error(records, sound, with_control, precision):
    """Some records are those of a sound reply, so that all checks are reached."""
    schema = replace(SCAFFOLD if with_control else SCHEMA, precision=precision)
    _, content = encode(precision, control=START if with_control else None)
    mixed = RecordDict(records | {name: content[name] for name in sound if name in content})
    try:
        reply = decode_train_reply(mixed, schema)
    except ValueError:
        return
    assert set(mixed) == set(content)
    assert all(value.shape == START[name].shape for name, value in reply.state.items())
    assert all(torch.isfinite(value).all() for value in reply.state.values())


@given(records=st.dictionaries(NAMES | st.text(), RECORDS, max_size=3))
def test_any_records_are_an_evaluation_or_a_number_or_an_error(records):
    content = RecordDict(records)
    for decode in (decode_evaluate_reply, decode_client_number):
        try:
            decode(content, LIMITS if decode is decode_evaluate_reply else 2)
        except ValueError as error:
            assert len(str(error)) < 1000

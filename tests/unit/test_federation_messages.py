"""What travels is read as it was sent, and nonsense is told."""

import math

import pytest
import torch
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from blossomtune.federation.messages import codec, replies, requests
from blossomtune.federation.messages.replies import TrainReply
from blossomtune.privacy.record_keys import NORM_BIT_KEY

START = {"a.lora_A.weight": torch.ones(2, 3), "a.lora_B.weight": torch.zeros(4, 2)}
NUMBERS = dict.fromkeys(replies.TRAIN_METRICS, 2.0)


def coded(state):
    return codec.encode(state, "float32")[0]


def answer(precision="float32", kept=None, control=None, **numbers):
    state = {name: value + 0.25 for name, value in START.items()}
    given = TrainReply(START, state, control, NUMBERS | numbers, kept or {})
    return state, *replies.encode_train_reply(given, precision)


RUN = "0123456789abcdef"


@pytest.mark.parametrize("run", ["", "../../../etc", "0123456789ABCDEF", f"{RUN}/x"])
def test_a_run_that_is_no_name_of_a_folder_is_refused(run):
    record, _ = codec.encode(START, "float32")
    with pytest.raises(ValueError, match="which is no run's name"):
        requests.decode_request(requests.encode_request(record, 1, 0, run))


def test_an_order_is_read_as_it_was_sent():
    record, _ = codec.encode(START, "float32")
    folds = {3: {"a": (torch.randn(4, 1), torch.randn(1, 3))}}
    content = requests.encode_request(
        record,
        5,
        3,
        RUN,
        base_deltas=requests.encode_base_deltas(folds, "float32"),
        server_control=codec.encode(START, "float32")[0],
        extra_config={"clipping": 0.5},
    )
    order = requests.decode_request(content)
    assert (order.round, order.last_participation, order.run_name) == (5, 3, RUN)
    assert all(torch.equal(order.state[n], START[n]) for n in START)
    assert all(torch.equal(order.server_control[n], START[n]) for n in START)
    for read, sent in zip(order.base_deltas[3]["a"], folds[3]["a"], strict=True):
        assert torch.equal(read, sent)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_an_answer_is_read_as_it_was_sent(precision):
    state, content, _ = answer(precision, control=START)
    read, control = replies.decode_train_reply(content, START, precision, with_control=True)
    for name in START:
        torch.testing.assert_close(read[name], state[name], rtol=0, atol=1e-6)
        assert torch.equal(control[name], START[name])


def test_what_int8_left_over_is_kept_and_sent_later():
    kept = {"residual/a.lora_A.weight": torch.full((2, 3), 0.5), "other": torch.ones(1)}
    _, content, after = answer("int8", kept=kept)
    read, _ = replies.decode_train_reply(content, START, "int8", with_control=False)
    assert read["a.lora_A.weight"].mean() == pytest.approx(1.75, rel=1e-5)
    assert after["residual/a.lora_A.weight"].abs().max() < 0.01
    assert "other" in after


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("scaffold", [False, True])
@pytest.mark.parametrize("norm_bit", [False, True])
def test_the_size_of_an_answer_is_known_before(precision, scaffold, norm_bit):
    generator = torch.Generator().manual_seed(1)
    state = {n: torch.randn(v.shape, generator=generator) for n, v in START.items()}
    control = {n: v * 3 for n, v in state.items()} if scaffold else None
    given = TrainReply(START, state, control, NUMBERS | {"seconds": math.pi}, {})
    content, _ = replies.encode_train_reply(given, precision)
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
        (lambda c: c.pop("metrics"), "holds no metrics"),
        (lambda c: c.update(adapter=codec.encode({}, "float32")[0]), "2 tensors are missing"),
        (
            lambda c: c.update(
                adapter=codec.encode({n: v[:1] for n, v in START.items()}, "float32")[0]
            ),
            "instead of",
        ),
        (
            lambda c: c.update(
                adapter=codec.encode({n: v / 0 for n, v in START.items()}, "float32")[0]
            ),
            "not finite",
        ),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(spoil, message):
    _, content, _ = answer()
    spoil(content)
    with pytest.raises(ValueError, match=message):
        replies.decode_train_reply(content, START, "float32", with_control=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("num-examples", 0.0), ("num-tokens", -1.0), ("train-loss", math.nan), ("seconds", math.inf)],
)
def test_senseless_numbers_are_refused(name, value):
    _, content, _ = answer(**{name: value})
    with pytest.raises(ValueError, match="the reply"):
        replies.decode_train_metrics(content)


def test_missing_numbers_are_refused():
    with pytest.raises(ValueError, match="None for num-examples"):
        replies.decode_train_metrics(RecordDict({"metrics": MetricRecord({"x": 1.0})}))


@pytest.mark.parametrize(
    "said", [{}, {"loss": 1.0}, {"loss": math.nan, "rows": 3.0}, {"loss": 1.0, "rows": 0.0}]
)
def test_a_senseless_score_counts_as_none(said):
    assert replies.decode_evaluate_metrics(RecordDict({"metrics": MetricRecord(said)})) is None
    assert (
        replies.decode_evaluate_metrics(RecordDict({"round": ConfigRecord({"round": 1})})) is None
    )


def test_a_score_is_as_small_as_is_reckoned():
    content = RecordDict({"metrics": MetricRecord({"loss": 0.123456789, "rows": 12345.0})})
    assert replies.decode_evaluate_metrics(content) == {"loss": 0.123457, "rows": 12345}
    assert codec.count_message_bytes(content) < replies.MAX_EVALUATE_REPLY_BYTES


@pytest.mark.parametrize(("taken", "told"), [(0.0, None), (2.5e9 + 1, 2501)])
def test_memory_of_a_gpu_is_told_where_there_is_one(taken, told):
    _, content, _ = answer(**{"gpu-memory": taken})
    numbers = replies.decode_train_metrics(content)
    assert numbers["gpu_memory_mb"] == told

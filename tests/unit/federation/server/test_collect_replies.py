import pytest
import torch
from federation_samples import federation_spec
from flwr.app import Error, Message, MessageType, MetricRecord, RecordDict

from blossomtune.artifacts.round_record import ClientFailure
from blossomtune.deployment.flower_internal import set_task_identity
from blossomtune.federation.messages import codec, replies
from blossomtune.federation.messages.replies import TrainReply
from blossomtune.federation.server.collect_replies import (
    collect_evaluate_replies,
    collect_train_replies,
)
from blossomtune.federation.server.request_batch import RequestBatch
from blossomtune.federation.server.tensor_spool import TensorSpool

NAMES = ("north", "south", "west", "east")
SPEC = federation_spec(names=NAMES, round_timeout=60)
START = {"a.lora_A.weight": torch.ones(8, 3)}
REQUESTS = RequestBatch({c: RecordDict() for c in (0, 1, 2)}, {0: 10, 1: 11, 2: 12}, {}, {})


@pytest.fixture(autouse=True)
def flower_task():
    """Set the task identity that Flower needs to create messages."""
    set_task_identity(task_id=1, run_id=1, node_id=1)


def message(content):
    return Message(content, reply_to=Message(RecordDict(), 7, MessageType.TRAIN))


def trained(state, **metrics):
    metrics = dict.fromkeys(replies.TRAIN_METRICS, 2.0) | metrics
    content, _ = replies.encode_train_reply(TrainReply(START, state, None, metrics, {}), "float32")
    return message(content)


def failure(client, bytes_up, reason):
    bytes_down = REQUESTS.sizes.get(client, 0)
    return ClientFailure(
        client=client, name=NAMES[client], bytes_down=bytes_down, bytes_up=bytes_up, reason=reason
    )


@pytest.fixture
def collect(tmp_path):
    """Return a function that collects messages, with a spool that is closed after the test."""
    with TensorSpool(tmp_path) as spool:
        yield lambda received: collect_train_replies(
            SPEC, [0, 1, 2, 3], REQUESTS, {8: START}, received, spool
        )


def test_valid_replies_are_recorded_in_the_order_of_the_clients(collect):
    reply = trained({name: value + 1 for name, value in START.items()})
    collected = collect([(2, reply), (0, reply)])
    assert list(collected.valid) == [0, 2]
    assert [(c.client, c.name, c.rank) for c in collected.records] == [
        (0, "north", 8),
        (2, "west", 8),
    ]
    size = codec.count_message_bytes(reply.content)
    assert [(c.bytes_down, c.bytes_up) for c in collected.records] == [(10, size), (12, size)]
    assert torch.equal(collected.valid[0].state["a.lora_A.weight"], torch.full((8, 3), 2.0))


def test_failed_clients_are_recorded_with_reasons_and_traffic(collect):
    wrong_shape = trained({"a.lora_A.weight": torch.ones(8, 3)})
    wrong_shape.content["adapter"] = codec.encode({"a.lora_A.weight": torch.ones(2, 3)}, "float32")[
        0
    ]
    size = codec.count_message_bytes(wrong_shape.content)
    collected = collect([(1, message(Error(0, "Message: no memory"))), (0, wrong_shape)])
    assert collected.valid == {}
    assert collected.failed == [
        failure(0, size, "a.lora_A.weight is (2, 3) instead of (8, 3)"),
        failure(1, 0, "no memory"),
        failure(2, 0, "no answer in 60 s"),
        failure(3, 0, "not there"),
    ]


def test_mean_loss_is_weighted_by_rows():
    received = [
        (client, message(RecordDict({"metrics": MetricRecord({"loss": loss, "rows": rows})})))
        for client, loss, rows in [(1, 2.0, 3.0), (0, 1.0, 1.0)]
    ]
    evaluation = collect_evaluate_replies(SPEC, REQUESTS, received)
    assert evaluation.loss == 1.75
    assert [(c.client, c.loss, c.rows) for c in evaluation.clients] == [(0, 1.0, 1), (1, 2.0, 3)]
    assert evaluation.failed == [failure(2, 0, "no answer in 60 s")]


def test_evaluation_without_a_usable_reply_has_no_loss():
    invalid = message(RecordDict({"metrics": MetricRecord({"loss": 1.0})}))
    error = message(Error(0, "Message: no memory"))
    evaluation = collect_evaluate_replies(SPEC, REQUESTS, [(0, invalid), (1, error)])
    assert evaluation.loss is None
    reason = "the reply says None for rows; a whole number from 1 to 10000000 is possible"
    assert evaluation.failed == [
        failure(0, codec.count_message_bytes(invalid.content), reason),
        failure(1, 0, "no memory"),
        failure(2, 0, "no answer in 60 s"),
    ]


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (lambda: message(Error(0, "\x1b[2Jno\nmemory")), "\ufffd[2Jno memory"),
        (lambda: message(Error(0, "x" * 20_000_000)), "x" * 499 + "…"),
        (lambda: trained({"\x1b[31m": torch.ones(2)}), "1 tensors are missing"),
        (lambda: message(RecordDict({"\u202e": MetricRecord({"x": 1})})), "holds no adapter"),
    ],
)
def test_texts_of_clients_are_cleaned_and_cut(collect, received, reason):
    [first, *_] = collect([(0, received())]).failed
    assert reason in first.reason
    assert len(first.reason) <= 500
    assert first.reason.isprintable()


def test_error_in_reading_a_reply_is_its_clients_failure(collect):
    reply, broken = trained(START), trained(START)
    broken.content["adapter"].__dict__["_data"] = None
    collected = collect([(1, broken), (0, reply)])
    assert list(collected.valid) == [0]
    assert collected.failed[0].client == 1

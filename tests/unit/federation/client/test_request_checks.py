"""Requests of a malicious server never reach the model."""

from dataclasses import replace

import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict

from blossomtune.federation.client.client_app import build_client_app
from blossomtune.federation.client.request_checks import RequestError, read_request
from blossomtune.federation.client.worker import get_worker
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.requests import encode_base_deltas, encode_request

pytestmark = pytest.mark.usefixtures("flower_task")
RUN_NAME = "0123456789abcdef"
LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
DELTA = {LAYER: (torch.ones(32, 1), torch.ones(1, 32) / 32)}


def encode(run, number=1, last=0, precision="float32", change=None, **keywords):
    """Return a request with the initial adapter, changed by a function."""
    state = dict(get_worker(run).initial_state)
    if change:
        change(state)
    record, _ = codec.encode(state, precision)
    return encode_request(record, number, last, number - 1, RUN_NAME, **keywords)


def send(run, content, message_type=MessageType.TRAIN):
    """Return the reply of the real ClientApp."""
    context = Context(0, 7, {"partition-id": 0}, RecordDict(), {})
    return build_client_app(lambda _: run)(Message(content, 7, message_type), context)


def set_first(value):
    def change(state):
        state[min(state)].view(-1)[0] = value

    return change


def drop_first(state):
    del state[min(state)]


def widen(state):
    state[min(state)] = torch.zeros(3, 5)


def with_config(content, **config):
    content["round"] = ConfigRecord(dict(content.config_records["round"]) | config)
    return content


def with_arrays(content, name, record):
    content[name] = record
    return content


def pickled(run):
    array = Array(dtype="float32", shape=(1,), stype="numpy.ndarray", data=b"\x80\x04.")
    return with_arrays(encode(run), "adapter", ArrayRecord({"{}": array}))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda run: RecordDict(), "it has other records than a round and arrays"),
        (lambda run: encode(run, 0), "round 0 is not one of 1 to"),
        (lambda run: encode(run, 10**9), "round 1000000000 is not one of 1 to"),
        (lambda run: encode(run, 2, -1), "the client's round -1 is not before round 2"),
        (lambda run: encode(run, 2, 3), "the client's round 3 is not before round 2"),
        (
            lambda run: with_config(encode(run, 2), earlier=2),
            "the client was in 2 rounds before round 2",
        ),
        (
            lambda run: with_config(encode(run, 2), earlier=-1),
            "the client was in -1 rounds before round 2",
        ),
        (lambda run: with_config(encode(run), round=1.0), "its settings are"),
        (lambda run: with_config(encode(run), lr=1e9), "known: round, last, earlier, run"),
        (lambda run: with_config(encode(run), run="../../home"), "which is no run's name"),
        (lambda run: encode(run, precision="int8"), "the tensors are torch.int8, and float32 was"),
        (lambda run: encode(run, precision="bfloat16"), "and float32 was agreed on"),
        (pickled, "the array of tensors cannot be read"),
        (
            lambda run: encode(run, base_deltas=encode_base_deltas({1: DELTA}, "float32")),
            "it has arrays 'base_deltas'; known: adapter",
        ),
        (
            lambda run: encode(run, server_control=encode(run).array_records["adapter"]),
            "it has arrays 'control'",
        ),
        (lambda run: encode(run, extra_config={"clipping_norm": 1e9}), "clients do not clip here"),
    ],
)
def test_forged_request_is_refused(build_run, build, message):
    run = build_run(rounds=3)
    for message_type in (MessageType.TRAIN, MessageType.EVALUATE):
        with pytest.raises(RequestError, match=rf"the server's request is refused: .*{message}"):
            send(run, build(run), message_type)


def test_only_an_evaluation_may_have_the_number_after_the_last_round(build_run):
    run = build_run(rounds=3)
    assert not send(run, encode(run, 4), MessageType.EVALUATE).has_error()
    with pytest.raises(RequestError, match="round 4 is not one of 1 to 3"):
        send(run, encode(run, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_first(float("nan")), "not finite"),
        (set_first(float("inf")), "not finite"),
        (widen, r"is \(3, 5\) instead of"),
        (lambda state: state.update(x=torch.zeros(1)), "1 tensors are unknown, the first is x"),
    ],
)
def test_adapter_that_does_not_fit_is_refused(build_run, change, message):
    run = build_run()
    with pytest.raises(ValueError, match=message):
        send(run, encode(run, change=change))


def test_request_that_is_too_large_is_refused(build_run):
    run = build_run()
    large = encode(run, change=lambda state: state.update(x=torch.zeros(2**20)))
    with pytest.raises(RequestError, match=r"adapter has \d+ bytes; at most \d+ are possible"):
        send(run, large)


@pytest.mark.parametrize(
    ("deltas", "message"),
    [
        ({3: DELTA}, "a base update of round 3; those from round 0 to 1 are new"),
        ({1: {"lm_head": DELTA[LAYER]}}, "a base update of 'lm_head', which has no adapter"),
        ({1: {LAYER: (torch.ones(1, 1), torch.ones(1, 32))}}, r"is not \(32, r\) and \(r, 32\)"),
        ({1: {LAYER: (torch.ones(32, 2), torch.ones(1, 32))}}, "does not fit together"),
        ({1: {LAYER: (torch.ones(32, 1) / 0, torch.ones(1, 32))}}, "or is not finite"),
    ],
)
def test_base_update_that_does_not_fit_is_refused(build_run, deltas, message):
    run = build_run(aggregation="flora", rounds=3)
    content = encode(run, 2, base_deltas=encode_base_deltas(deltas, "float32"))
    with pytest.raises(RequestError, match=message):
        send(run, content)


def test_control_variate_that_does_not_fit_is_refused(build_run):
    run = build_run(strategy={"name": "scaffold"})
    state = {name: value / 0 for name, value in get_worker(run).initial_state.items()}
    control, _ = codec.encode(state, "float32")
    with pytest.raises(RequestError, match="holds values that are not finite"):
        send(run, encode(run, server_control=control))


@pytest.mark.parametrize("norm", [0.0, -1.0, float("inf"), float("nan"), 2, 0.5])
def test_other_clipping_norm_than_the_agreed_one_is_refused(build_run, norm):
    run = build_run(privacy={"side": "client", "clipping": "fixed", "clipping_norm": 1.0})
    spec, state = run.spec, get_worker(run).initial_state
    content = encode(run, extra_config={"clipping_norm": norm})
    with pytest.raises(RequestError, match="its clipping norm is"):
        read_request(content, spec, state, 3)
    honest = encode(run, extra_config={"clipping_norm": 1.0})
    assert replace(read_request(honest, spec, state, 3), state={}).round == 1

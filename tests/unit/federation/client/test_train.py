"""Tests of one client's training and evaluation."""

import pytest
import torch
from adapter_training import reference_loss

from blossomtune.federation.client.train import evaluate_round, train_round
from blossomtune.federation.client.worker import get_worker, load_client_rows
from blossomtune.federation.messages.requests import TrainRequest
from blossomtune.modeling.load import load_model
from blossomtune.named_tensors import strip_prefix
from blossomtune.training import adapter

RUN_NAME = "0123456789abcdef"
LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
DELTA = {LAYER: (torch.ones(32, 1), torch.ones(1, 32) / 32)}


def build_request(run, number=1, last=0, **keywords):
    """Return a request with the initial adapter."""
    state = dict(get_worker(run).initial_state)
    return TrainRequest(number, last, number - 1, RUN_NAME, **({"state": state} | keywords))


def is_equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_reply_has_the_trained_adapter_and_its_metrics(build_run):
    run = build_run()
    request = build_request(run)
    reply = train_round(run, 0, request, {})
    assert is_equal(reply.initial_state, request.state)
    assert reply.state.keys() == request.state.keys()
    assert not is_equal(reply.state, request.state)
    assert reply.metrics["num-steps"] == 2 and reply.metrics["num-examples"] == 4
    assert reply.metrics["train-loss"] > 0 and reply.metrics["gpu-memory"] == 0
    assert reply.control_delta is None
    assert reply.client_state == {}


def test_same_request_gives_the_same_bits_whatever_was_trained_before(build_run):
    run = build_run(ranks=(4, 2))
    request = build_request(run)
    first = train_round(run, 0, request, {})
    small = {name: v[:2] if "lora_A" in name else v[:, :2] for name, v in request.state.items()}
    other = train_round(run, 1, build_request(run, state=small), {})
    assert other.state[f"{LAYER}.lora_A.weight"].shape == (2, 32)
    assert is_equal(train_round(run, 0, request, {}).state, first.state)


def test_rounds_train_on_different_rows(build_run):
    run = build_run()
    losses = {
        number: train_round(run, 0, build_request(run, number), {}).metrics["train-loss"]
        for number in (1, 2)
    }
    assert losses[1] != losses[2]


@pytest.mark.parametrize(
    ("aggregation", "number", "factor"), [("ffa", 1, "B"), ("rolora", 1, "B"), ("rolora", 2, "A")]
)
def test_reply_has_the_factor_that_the_round_trains(build_run, aggregation, number, factor):
    """FFA-LoRA's server does not send the factor that never changes."""
    run = build_run(aggregation=aggregation)
    state = adapter.select_factor(
        get_worker(run).initial_state, "B" if aggregation == "ffa" else "both"
    )
    reply = train_round(run, 0, build_request(run, number, state=state), {})
    assert {name.split(".")[-2] for name in reply.state} == {f"lora_{factor}"}
    trained = adapter.get_trainable_parameters(get_worker(run).prepare_model(4, {}))
    assert trained.keys() == reply.state.keys()


def test_optimizer_state_is_kept_per_factor(build_run):
    run = build_run(aggregation="rolora", optimizer_state="kept")
    state = {}
    for number in (1, 2):
        state = train_round(run, 0, build_request(run, number), state).client_state
    assert {name.split("/")[1] for name in state} == {"A", "B"}
    one, other = (train_round(run, 0, build_request(run, 3), kept).state for kept in (state, {}))
    assert not is_equal(one, other)


def test_control_variate_follows_option_two_of_scaffold(build_run):
    """c_i⁺ = c_i − c + (x − y) / (K lr)."""
    run = build_run(strategy="scaffold")
    generator = torch.Generator().manual_seed(0)
    server, client = (
        {
            name: torch.randn(value.shape, generator=generator) / 100
            for name, value in get_worker(run).initial_state.items()
        }
        for _ in range(2)
    )
    stored = {f"control/{name}": value for name, value in client.items()}
    reply = train_round(run, 0, build_request(run, server_control=server), stored)
    control = strip_prefix("control", reply.client_state)
    for name, value in client.items():
        change = (reply.initial_state[name] - reply.state[name]) / (2 * 1e-2)
        assert torch.allclose(control[name], value - server[name] + change, atol=1e-6)
        assert torch.allclose(reply.control_delta[name], control[name] - value, atol=1e-6)


def test_base_updates_of_earlier_rounds_are_stored_and_used(build_run):
    run = build_run(aggregation="fedex")
    first = train_round(run, 0, build_request(run, 2, 0, base_deltas={1: DELTA}), {})
    later = build_request(run, 3, 2)
    stored = train_round(run, 0, later, first.client_state)
    sent = train_round(run, 0, build_request(run, 3, 2, base_deltas={1: DELTA}), {})
    assert is_equal(stored.state, sent.state)
    assert not is_equal(stored.state, train_round(run, 0, later, {}).state)


def test_evaluation_is_the_loss_on_the_client_s_validation_rows(build_run):
    run = build_run()
    generator = torch.Generator().manual_seed(0)
    initial = get_worker(run).initial_state
    state = {n: torch.randn(v.shape, generator=generator) / 8 for n, v in initial.items()}
    metrics = evaluate_round(run, 1, build_request(run, state=state), {})
    model = adapter.build_peft_model(load_model(run.paths.model), run.spec.lora, run.spec.seed)
    adapter.set_adapter_state(model, state)
    rows = load_client_rows(run.paths.preprocessed, 1, ".validation").to_list()
    with torch.no_grad():
        expected = float(reference_loss(model.eval(), rows))
    assert metrics == {"loss": pytest.approx(expected, abs=1e-5), "rows": 3.0}

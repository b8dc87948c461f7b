import pytest
import torch
from federation_samples import federation_spec

from blossomtune.config.lora import LoraSettings
from blossomtune.federation.messages.requests import decode_request
from blossomtune.federation.server.request_batch import build_requests
from blossomtune.federation.server.server_state import ServerState
from blossomtune.federation.spec import ClientSpec
from blossomtune.training.checkpoints import Checkpoint

A, B = "q_proj.lora_A.weight", "q_proj.lora_B.weight"
RUN_NAME = "0123456789abcdef"
RANKS = (2, 4, 4)


def build_state(**federation):
    """Return specification and state of a server with three clients of these ranks."""
    spec = federation_spec(lora=LoraSettings(r=4, alpha=8), **federation)
    clients = tuple(ClientSpec(name=str(i), num_rows=9, rank=r) for i, r in enumerate(RANKS))
    spec = spec.model_copy(update={"clients": clients})
    generator = torch.Generator().manual_seed(0)
    adapter = {A: torch.randn(4, 6, generator=generator), B: torch.randn(5, 4, generator=generator)}
    return spec, ServerState(spec, Checkpoint(0, adapter, []))


SAMPLED_ROUNDS = {0: 2, 1: 1, 2: 1}


def build(spec, state, round_number=3, train_config=None):
    return build_requests(spec, state, RUN_NAME, round_number, SAMPLED_ROUNDS, train_config)


def test_clients_get_the_adapter_at_their_rank():
    spec, state = build_state(aggregation="flexlora")
    batch = build(spec, state)
    small, large = (decode_request(batch.contents[client]) for client in (0, 1))
    assert (small.round, small.run_name) == (3, RUN_NAME)
    assert (small.sampled_rounds, large.sampled_rounds) == (2, 1)
    assert torch.equal(small.state[A], state.adapter[A][:2])
    assert small.state[B].shape == (5, 2)
    assert all(torch.equal(large.state[name], state.adapter[name]) for name in (A, B))
    assert batch.sizes[0] < batch.sizes[1]
    assert all(torch.equal(batch.received_states[2][name], small.state[name]) for name in (A, B))


def test_ffa_does_not_send_the_frozen_factor():
    batch = build(*build_state(aggregation="ffa"))
    assert set(decode_request(batch.contents[1]).state) == {B}


def test_clients_of_equal_rank_and_history_share_a_content():
    spec, state = build_state()
    batch = build(spec, state)
    assert batch.contents[1] is batch.contents[2]
    state.last_participation[2] = 1
    batch = build(spec, state)
    assert batch.contents[1] is not batch.contents[2]
    assert decode_request(batch.contents[2]).last_participation == 1


def test_clients_get_the_base_updates_since_their_last_participation():
    spec, state = build_state(aggregation="fedex")
    factors = (torch.ones(5, 1), torch.ones(1, 6))
    state.base_deltas = {number: {"q_proj": factors} for number in (1, 2)}
    state.last_participation = {1: 2}
    batch = build(spec, state)
    assert set(decode_request(batch.contents[1]).base_deltas) == {2}
    assert set(decode_request(batch.contents[2]).base_deltas) == {1, 2}


def test_control_variate_is_sent_for_training_only():
    spec, state = build_state(strategy="scaffold")
    train, evaluate = build(spec, state, train_config={}), build(spec, state)
    assert set(decode_request(train.contents[1]).server_control) == {A, B}
    assert decode_request(evaluate.contents[1]).server_control is None


@pytest.mark.parametrize(("aggregation", "has_residual"), [("fedavg", True), ("flora", False)])
def test_rounding_error_is_the_next_residual_unless_tensors_are_new(aggregation, has_residual):
    spec, state = build_state(aggregation=aggregation, communication={"precision": "int8"})
    batch = build(spec, state)
    assert bool(batch.residual) == has_residual
    assert state.residual == {}  # the caller decides

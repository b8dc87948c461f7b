import pytest
import torch
from artifact_samples import client_train_record, round_record
from federation_samples import federation_spec

from blossomtune.federation.messages.codec import decode
from blossomtune.federation.messages.requests import encode_base_deltas
from blossomtune.federation.server.server_state import ServerState
from blossomtune.training.checkpoints import Checkpoint

A, B = "q_proj.lora_A.weight", "q_proj.lora_B.weight"
ADAPTER = {A: torch.ones(2, 3), B: torch.ones(4, 2)}


def test_state_of_a_checkpoint_is_restored():
    spec = federation_spec(aggregation="fedex", communication={"precision": "int8"})
    state = ServerState(spec, Checkpoint(0, ADAPTER, []))
    state.residual = {A: torch.full((2, 3), 0.5)}
    state.base_deltas = {1: {"q_proj": (torch.ones(4, 1), torch.ones(1, 3))}}
    tensors = state.state_dict()
    restored = ServerState(spec, Checkpoint(1, ADAPTER, [], tensors))
    assert torch.equal(restored.residual[A], state.residual[A])
    assert all(map(torch.equal, restored.base_deltas[1]["q_proj"], state.base_deltas[1]["q_proj"]))
    assert restored.state_dict().keys() == tensors.keys()


@pytest.mark.parametrize(("precision", "exact"), [("float32", True), ("bfloat16", False)])
def test_base_updates_are_added_as_clients_receive_them(precision, exact, tmp_path):
    spec = federation_spec(aggregation="fedex", communication={"precision": precision})
    state = ServerState(spec, Checkpoint(0, ADAPTER, []), tmp_path)
    layers = {name: (torch.randn(4, 2), torch.randn(2, 3)) for name in ("q_proj", "v_proj")}
    state.add_base_deltas(1, layers)
    state.add_base_deltas(2, layers)
    received = decode(encode_base_deltas({2: layers}, precision))
    assert state.base_deltas.keys() == {1, 2}
    for layer, factors in layers.items():
        b, a = state.base_deltas[2][layer]
        assert torch.equal(b, received[f"2/{layer}/B"])
        assert torch.equal(a, received[f"2/{layer}/A"])
        assert torch.equal(b, factors[0]) is exact
    assert list(tmp_path.iterdir()) == []


def test_control_variate_starts_at_zero_and_is_restored():
    assert ServerState(federation_spec(), Checkpoint(0, ADAPTER, [])).control_variate is None
    spec = federation_spec(strategy="scaffold")
    state = ServerState(spec, Checkpoint(0, ADAPTER, []))
    assert {name: float(value.abs().sum()) for name, value in state.control_variate.items()} == {
        A: 0.0,
        B: 0.0,
    }
    state.control_variate = {name: value + 1 for name, value in state.control_variate.items()}
    restored = ServerState(spec, Checkpoint(1, ADAPTER, [], state.state_dict()))
    assert torch.equal(restored.control_variate[A], torch.ones(2, 3))


def test_last_participation_is_the_last_round_with_an_accepted_reply():
    history = [round_record(0)]
    history += [
        round_record(n, clients=[client_train_record(c)]) for n, c in ((1, 0), (2, 1), (3, 0))
    ]
    state = ServerState(federation_spec(), Checkpoint(3, ADAPTER, history))
    assert state.last_participation == {0: 3, 1: 2}


def test_clients_have_not_participated_in_a_dropped_round():
    clients = [client_train_record(0)]
    history = [round_record(1, clients=clients), round_record(2, clients=clients, rejection="x")]
    state = ServerState(federation_spec(), Checkpoint(2, ADAPTER, history))
    assert state.last_participation == {0: 1}


def test_trainable_tensors_are_those_of_the_rounds_factor():
    state = ServerState(federation_spec(aggregation="rolora"), Checkpoint(0, ADAPTER, []))
    assert set(state.select_trainable(1)) == {B}
    assert set(state.select_trainable(2)) == {A}
    assert torch.equal(state.select_trainable(1, {B: torch.zeros(1)})[B], torch.zeros(1))

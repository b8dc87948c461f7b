"""Tests of the model that a process keeps in memory."""

import pytest
import torch

from blossomtune.federation.client import worker as worker_module
from blossomtune.federation.client.worker import Worker, get_worker, load_client_rows
from blossomtune.modeling.load import load_model
from blossomtune.training import adapter

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


def build_delta(seed):
    """Return an update of one layer's weights, of rank 2."""
    generator = torch.Generator().manual_seed(seed)
    return {
        LAYER: (torch.randn(32, 2, generator=generator), torch.randn(2, 32, generator=generator))
    }


DELTAS = {number: build_delta(number) for number in (1, 2, 3)}


def read_weight(model):
    return model.get_submodule(LAYER).get_base_layer().weight.detach().clone()


@pytest.fixture
def worker(build_run):
    return Worker(build_run())


def test_model_is_the_same_object_at_the_same_rank(worker):
    assert worker.prepare_model(4, {}) is worker.prepare_model(4, {})


def test_adapter_has_the_requested_rank_and_the_seed_s_values(build_run, worker):
    run = build_run()
    for rank in (2, 4):
        state = adapter.get_adapter_state(worker.prepare_model(rank, {}))
        assert state[f"{LAYER}.lora_A.weight"].shape == (rank, 32)
        fresh = adapter.build_peft_model(
            load_model(run.paths.model), run.spec.lora, run.spec.seed, rank
        )
        expected = adapter.get_adapter_state(fresh)
        assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert worker.initial_state[f"{LAYER}.lora_A.weight"].shape == (4, 32)


def test_adapter_does_not_depend_on_the_dtype_of_the_base(build_run, worker):
    """PEFT would round it, and the server completes what it sends by the client's values."""
    rounded = Worker(build_run(base_dtype="bfloat16"))
    states = [each.initial_state for each in (worker, rounded)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert rounded.prepare_model(4, {}).get_base_model().dtype == torch.bfloat16


def test_base_updates_are_added_once(worker):
    before = read_weight(worker.prepare_model(4, {}))
    for _ in range(2):
        model = worker.prepare_model(4, {1: DELTAS[1]})
    b, a = DELTAS[1][LAYER]
    assert torch.equal(read_weight(model), before + b @ a)


@pytest.mark.parametrize("base_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("ranks", [(4, 4), (4, 2)])
def test_base_has_the_same_bits_for_every_sequence_of_calls(build_run, ranks, base_dtype):
    at_once, step_by_step = (Worker(build_run(base_dtype=base_dtype)) for _ in range(2))
    for last in (1, 2):
        step_by_step.prepare_model(ranks[0], {n: DELTAS[n] for n in range(1, last + 1)})
    one = at_once.prepare_model(ranks[1], DELTAS)
    two = step_by_step.prepare_model(ranks[1], {n: DELTAS[n] for n in (3, 1, 2)})
    assert torch.equal(read_weight(one), read_weight(two))


def test_client_without_an_applied_update_gets_the_base_without_it(worker):
    original = read_weight(worker.prepare_model(4, {}))
    worker.prepare_model(4, {1: DELTAS[1]})
    assert torch.equal(read_weight(worker.prepare_model(4, {})), original)
    b, a = DELTAS[2][LAYER]
    worker.prepare_model(4, {1: DELTAS[1], 2: DELTAS[2]})
    assert torch.equal(read_weight(worker.prepare_model(4, {2: DELTAS[2]})), original + b @ a)


def test_worker_is_shared_by_equal_runs_only(build_run):
    assert get_worker(build_run()) is get_worker(build_run())
    assert get_worker(build_run()) is not get_worker(build_run(aggregation="ffa"))


def test_rows_of_a_client_are_loaded(build_run):
    folder = build_run().paths.preprocessed
    counts = [len(load_client_rows(folder, 1, suffix)) for suffix in ("", ".validation")]
    assert counts == [9, 3]
    assert {"input_ids", "labels"} <= load_client_rows(folder, 1)[0].keys()


@pytest.mark.parametrize(("evaluate_rows", "checks"), [(0, 1), (3, 0)])
def test_model_is_checked_once_if_the_server_loads_none(
    build_run, monkeypatch, evaluate_rows, checks
):
    calls = []
    monkeypatch.setattr(worker_module, "check_model", lambda *_, **keys: calls.append(keys))
    worker = Worker(build_run(evaluate_rows=evaluate_rows))
    for client in (0, 1):
        worker.check_model(client)
    assert calls == [{"packing": False}] * checks

"""Tests of the server's evaluation between rounds."""

import math

import pytest
import torch
from adapter_training import reference_loss
from datasets import Dataset

from blossomtune.errors import UserError
from blossomtune.federation.server import evaluator as evaluator_module
from blossomtune.federation.server.evaluator import ServerEvaluator
from blossomtune.modeling.load import load_model
from blossomtune.modeling.server_eval_rows import select_server_eval_rows
from blossomtune.training import adapter
from blossomtune.training.initial_adapter import build_initial_adapter

SCALE = 2.0  # alpha 8 / r 4


@pytest.fixture
def run(build_run):
    return build_run(evaluate_rows=3)


@pytest.fixture
def evaluator(run):
    return ServerEvaluator(run.spec, run.paths, cores=1)


@pytest.fixture
def initial_state(run):
    return build_initial_adapter(run.paths.model, run.spec.lora, run.spec.seed).state


def randomize(state):
    """Return an adapter whose product B A is not zero."""
    generator = torch.Generator().manual_seed(0)
    return {n: torch.randn(v.shape, generator=generator) / 8 for n, v in state.items()}


def test_loss_is_that_of_the_adapter_on_the_sampled_rows(run, evaluator, initial_state):
    state = randomize(initial_state)
    evaluation = evaluator.evaluate(state, {})
    model = adapter.build_peft_model(load_model(run.paths.model), run.spec.lora, run.spec.seed)
    adapter.set_adapter_state(model, state)
    test = Dataset.from_file(str(run.paths.preprocessed / "test.arrow"))
    sample = test.select(select_server_eval_rows(run.spec.seed, num_rows=4, max_rows=3))
    with torch.no_grad():
        expected = float(reference_loss(model.eval(), sample.to_list()))
    assert evaluation.rows == 3
    assert evaluation.loss == pytest.approx(expected, abs=1e-5)
    assert evaluation.perplexity == pytest.approx(math.exp(expected), rel=1e-4)


def test_base_updates_count_as_the_same_adapter_and_only_once(evaluator, initial_state):
    initial, state = initial_state, randomize(initial_state)
    expected = evaluator.evaluate(state, {}).loss
    assert expected != pytest.approx(evaluator.evaluate(initial, {}).loss, abs=1e-3)
    layers = {name.rpartition(".lora_")[0] for name in state}
    delta = {
        name: (SCALE * state[f"{name}.lora_B.weight"], state[f"{name}.lora_A.weight"])
        for name in layers
    }
    for _ in range(2):
        assert evaluator.evaluate(initial, {1: delta}).loss == pytest.approx(expected, abs=1e-5)
    negative = {name: (-b, a) for name, (b, a) in delta.items()}
    undone = evaluator.evaluate(state, {1: delta, 2: negative})
    assert undone.loss == pytest.approx(expected, abs=1e-5)


def test_base_update_of_a_dropped_round_is_forgotten(evaluator, initial_state):
    state = randomize(initial_state)
    name = next(iter(state)).rpartition(".lora_")[0]
    factors = (state[f"{name}.lora_B.weight"], state[f"{name}.lora_A.weight"])
    dropped, kept = {1: {name: factors}}, {2: {name: factors}}
    expected = evaluator.evaluate(state, {}).loss
    assert evaluator.evaluate(state, dropped).loss != expected
    assert evaluator.evaluate(state, {}).loss == expected
    changed = evaluator.evaluate(state, dropped).loss
    assert evaluator.evaluate(state, kept).loss == changed != expected


def test_base_has_the_dtype_of_training(build_run, initial_state):
    losses = []
    for base_dtype in ("float32", "bfloat16"):
        run = build_run(base_dtype=base_dtype)
        evaluator = ServerEvaluator(run.spec, run.paths, cores=1)
        losses.append(evaluator.evaluate(randomize(initial_state), {}).loss)
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_without_rows_the_base_is_never_loaded(build_run, initial_state, monkeypatch):
    monkeypatch.delattr(evaluator_module, "load_model")
    run = build_run(evaluate_rows=0)
    evaluator = ServerEvaluator(run.spec, run.paths, cores=1)
    evaluator.load_model()
    assert evaluator.evaluate(initial_state, {}) is None


def test_model_that_learns_something_else_is_refused(evaluator, monkeypatch):
    def refuse(*args, **kwargs):
        raise UserError("the adapters of lm_head get no gradient")

    monkeypatch.setattr(evaluator_module, "check_model", refuse)
    with pytest.raises(UserError, match="no gradient"):
        evaluator.load_model()

import pytest
import torch
from adapter_training import PLAIN_SGD, assert_states_close, build_config, reference_training

from blossomtune.training import adapter
from blossomtune.training.fedprox import compute_proximal_term
from blossomtune.training.trainer import LocalObjective, train_adapter


def test_proximal_term_is_half_mu_times_the_squared_distance():
    parameters = {"a": torch.tensor([1.0, 2.0], requires_grad=True), "b": torch.tensor([[4.0]])}
    global_parameters = {"a": torch.tensor([0.0, 2.0]), "b": torch.tensor([[1.0]])}
    term = compute_proximal_term(parameters, global_parameters, mu=3.0)
    assert term.item() == pytest.approx(1.5 * (1 + 9))
    term.backward()
    assert parameters["a"].grad.tolist() == [3.0, 0.0]


@pytest.mark.parametrize("batch_size", [4, 2, 1])
def test_fedprox_adds_its_gradient_once_per_step(training_setup, tmp_path, batch_size):
    model, tokenizer, rows = training_setup
    start, mu, lr = adapter.get_adapter_state(model), 30.0, 1e-2
    rows = rows.select([*range(8)] * 2)
    expected_loss = reference_training(model, rows, 4, lambda _, p, g, t: p - lr * g, mu=mu)
    expected = adapter.get_adapter_state(model)
    adapter.set_adapter_state(model, start)
    config = build_config(
        tmp_path,
        **PLAIN_SGD,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=4 // batch_size,
    )
    result = train_adapter(model, tokenizer, rows, config, LocalObjective(proximal_mu=mu))
    assert_states_close(adapter.get_adapter_state(model), expected)
    assert result.loss == pytest.approx(expected_loss, rel=1e-3)  # without the term


def test_larger_mu_keeps_the_adapter_closer_to_its_start(training_setup, tmp_path):
    model, tokenizer, rows = training_setup
    start, distances = adapter.get_adapter_state(model), []
    for mu in (0.0, 1.0, 100.0):
        adapter.set_adapter_state(model, start)
        config = build_config(tmp_path, optim="sgd")
        train_adapter(model, tokenizer, rows, config, LocalObjective(proximal_mu=mu))
        end = adapter.get_adapter_state(model)
        distances.append(sum(float((end[n] - start[n]).square().sum()) for n in start))
    assert distances[0] > distances[1] > distances[2] > 0

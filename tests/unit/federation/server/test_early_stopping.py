import pytest
from artifact_samples import round_record, server_evaluation

from blossomtune.artifacts.round_record import FederatedEvaluation
from blossomtune.config.federation import FederationSettings
from blossomtune.federation.server.early_stopping import (
    find_best_round,
    get_monitored_loss,
    get_stop_reason,
)


def history(losses):
    """Return records of rounds 0, 1, …; None is a round without an evaluation."""
    return [
        round_record(i, evaluation=None if loss is None else server_evaluation(loss))
        for i, loss in enumerate(losses)
    ]


def stopping(**keys):
    return FederationSettings(early_stopping=keys)


def test_round_before_training_is_never_the_best():
    assert find_best_round(history([0.1, 3.0, 2.0]), FederationSettings()) == 2
    assert find_best_round(history([0.1]), FederationSettings()) is None


def test_first_of_equal_rounds_is_the_best():
    assert find_best_round(history([9.0, 2.0, 1.0, 1.0]), FederationSettings()) == 2


def test_rounds_without_an_evaluation_are_ignored():
    records = history([9.0, None, 2.0, None, 2.5, None, 2.6])
    assert find_best_round(records, FederationSettings()) == 2
    assert get_stop_reason(records, stopping(patience=3)) is None
    assert "since round 2" in get_stop_reason(records, stopping(patience=2))


def test_extra_evaluation_of_a_shorter_run_is_ignored():
    """Its last round was evaluated although ``evaluate_every`` would skip it."""
    records = history([9.0, None, 2.0, 1.0, 1.5])
    every = {"evaluate_every": 2}
    assert find_best_round(records[:4], FederationSettings(rounds=3, **every)) == 3
    assert find_best_round(records, FederationSettings(rounds=6, **every)) == 4


@pytest.mark.parametrize(
    ("losses", "stops"),
    [
        ([3.0, 2.0, 1.0], False),
        ([3.0, 1.0, 1.1, 1.2], True),
        ([3.0, 1.0, 1.1, 0.9], False),
        ([3.0, 1.0, 0.99, 0.98], True),  # better, but not by min_delta
        ([0.1, 3.0, 2.0], False),  # round 0 does not count
    ],
)
def test_run_stops_after_patience_evaluations_without_improvement(losses, stops):
    reason = get_stop_reason(history(losses), stopping(patience=2, min_delta=0.05))
    assert (reason is not None) == stops


def test_run_never_stops_without_early_stopping():
    assert get_stop_reason(history([1.0, 2.0, 3.0, 4.0, 5.0]), FederationSettings()) is None


def test_clients_losses_decide_if_clients_evaluate():
    by_clients = FederatedEvaluation(loss=2.0, clients=[], failed=[])
    record = round_record(1, evaluation=server_evaluation(1.0), client_evaluation=by_clients)
    assert get_monitored_loss(record, FederationSettings()) == 1.0
    assert get_monitored_loss(record, FederationSettings(fraction_evaluate=0.5)) == 2.0

from artifact_samples import client_train_record

from blossomtune.artifacts.round_record import ClientEvaluation, ClientFailure, FederatedEvaluation
from blossomtune.federation.server.round_result import RoundResult

FAILURE = ClientFailure(client=2, name="c", bytes_down=1000, bytes_up=2000, reason="no answer")
EVALUATION = ClientEvaluation(client=0, name="a", bytes_down=100, bytes_up=200, rows=4, loss=0.5)


def test_train_loss_is_weighted_by_examples():
    clients = [
        client_train_record(0, examples=1, train_loss=1.0),
        client_train_record(1, examples=3, train_loss=2.0),
    ]
    assert RoundResult(1, clients=clients).to_record().train_loss == 1.75


def test_traffic_includes_failed_and_evaluating_clients():
    evaluation = FederatedEvaluation(loss=0.5, clients=[EVALUATION], failed=[FAILURE])
    client = client_train_record(0, bytes_down=10, bytes_up=20, tokens=7)
    result = RoundResult(1, clients=[client], failed=[FAILURE], client_evaluation=evaluation)
    record = result.to_record()
    assert (record.bytes_down, record.bytes_up, record.tokens) == (2110, 4220, 7)


def test_round_before_training_has_no_loss():
    record = RoundResult(0).to_record()
    assert (record.round, record.train_loss, record.learning_rate) == (0, None, None)
    assert (record.bytes_down, record.clients) == (0, [])

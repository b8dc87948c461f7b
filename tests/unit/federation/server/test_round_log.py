from artifact_samples import client_train_record, round_record, server_evaluation

from blossomtune.artifacts.round_record import (
    ClientEvaluation,
    ClientFailure,
    FederatedEvaluation,
    PrivacySpent,
)
from blossomtune.federation.server.round_log import format_round

TRAFFIC = {"client": 1, "name": "south", "bytes_down": 0, "bytes_up": 0}


def test_round_before_training_has_its_evaluation_only():
    record = round_record(0, evaluation=server_evaluation(1.25))
    assert format_round(record, 3, 0.0) == "round 0/3 · held-out loss 1.2500"


def test_round_has_losses_traffic_time_and_failures():
    failure = ClientFailure(**TRAFFIC, reason="no answer in 60 s")
    evaluated = ClientEvaluation(**TRAFFIC, rows=4, loss=0.5)
    record = round_record(
        2,
        train_loss=0.75,
        client_evaluation=FederatedEvaluation(loss=0.5, clients=[evaluated], failed=[failure]),
        clients=[client_train_record(0)],
        failed=[failure],
        absent=["west", "east"],
        bytes_down=1_500_000,
        bytes_up=500_000,
        seconds=12.4,
        privacy=PrivacySpent(epsilon=2.5, delta=1e-5, clipping_norm=0.1, noise_deviation=0.1),
    )
    assert format_round(record, 3, 12.6).splitlines() == [
        "round 2/3 · train loss 0.7500 · clients' loss 0.5000 · 1 of 2 clients · 12 s · 2.0 MB · "
        "about 13 s left · epsilon 2.50",
        "  failed: client 1 (south): no answer in 60 s",
        "  gave no loss: client 1 (south): no answer in 60 s",
        "  not connected: west, east",
    ]


def test_dropped_round_has_its_reason():
    record = round_record(2, clients=[client_train_record(0)], rejection="the held-out loss is nan")
    assert format_round(record, 3, 0.0).splitlines()[1:] == [
        "  the adapter before this round is kept: the held-out loss is nan"
    ]

"""Metrics have every number of a round, under names that all trackers allow."""

import re

import artifact_samples as samples

from blossomtune.artifacts.round_record import FederatedEvaluation, GpuUsage, LayerDrift
from blossomtune.tracking.metrics import compute_metrics

FAILURE = {"client": 12, "name": "b/ c", "bytes_down": 7, "bytes_up": 0, "reason": "it is gone"}


def test_every_number_has_a_name():
    evaluation = FederatedEvaluation(loss=0.5, clients=[], failed=[FAILURE])
    gpu = GpuUsage(name="A 100", utilization=50, memory_mb=1, memory_total_mb=2)
    record = samples.round_record(
        3,
        client_evaluation=evaluation,
        gpus=[gpu],
        drift={"q": LayerDrift(norm=1, average=None, best=0)},
    )
    assert compute_metrics(record) == {
        "client_evaluation/loss": 0.5,
        "client_evaluation/failed/12_b_c/bytes_down": 7,
        "client_evaluation/failed/12_b_c/bytes_up": 0,
        "gpus/0_A_100/utilization": 50,
        "gpus/0_A_100/memory_mb": 1,
        "gpus/0_A_100/memory_total_mb": 2,
        "drift/q/norm": 1,
        "drift/q/best": 0,
        **dict.fromkeys(["tokens", "bytes_down", "bytes_up", "seconds"], 0),
        "round": 3,
    }


def test_two_clients_of_one_name_and_odd_characters_stay_apart():
    names = ["a" * 500, "a" * 500, "<b>&", "\n", "名"]
    clients = [samples.client_train_record(i, name=name) for i, name in enumerate(names)]
    metrics = compute_metrics(samples.round_record(1, clients=clients))
    losses = [name for name in metrics if name.endswith("train_loss")]
    assert len(losses) == len(names)
    assert all(re.fullmatch(r"[\w./-]{1,250}", name) for name in metrics)
    assert list(metrics)[-1] == "round"

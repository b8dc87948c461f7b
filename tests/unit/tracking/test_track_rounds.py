"""Compare what trackers store with the history, whenever a run was killed."""

import json
import sys

import artifact_samples as samples
import pytest
from tracker_readers import READERS

from blossomtune.tracking.metrics import compute_metrics
from blossomtune.tracking.track_rounds import TRACKERS, RoundTracking


def make_round(number, loss=0.0):
    """A round with clients of difficult names and values that float32 does not have."""
    clients = [
        samples.client_train_record(i, name=name, train_loss=number / 3 + i / 7 + loss)
        for i, name in enumerate(["Zoë & Söhne/'1'", "東京", "x" * 300])
    ]
    evaluation = samples.server_evaluation(1 / (3 + number))
    return samples.round_record(number, clients=clients if number else [], evaluation=evaluation)


ROUNDS = [make_round(number) for number in range(4)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for trackers; trackio takes its folder when it is imported."""
    for name in [name for name in sys.modules if name.split(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, name)
    for variable in ("WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    return tmp_path


def track(folder, trackers, rounds):
    """Log rounds as a process of its own would do, and return the run's name."""
    tracking = RoundTracking(trackers, folder, "small.1")
    tracking.log(rounds)
    tracking.finish()
    assert tracking.failed == set()
    return get_run(folder)


def get_run(folder):
    return json.loads((folder / "runs/small.1.json").read_text())["name"]


def expect(rounds):
    return {record.round: compute_metrics(record) for record in rounds}


def log_half_a_round(tracker, folder, run):
    """Leave round 2 as a killed process does; trackio's rounds are rows, there or not."""
    if tracker == "trackio":
        return
    killed = TRACKERS[tracker](folder / tracker)
    assert killed.start(run) in (0, 2)
    killed.log(2, dict(list(compute_metrics(ROUNDS[2]).items())[:5]))
    killed.finish()


@pytest.mark.parametrize("tracker", READERS)
def test_resumed_run_continues_and_a_run_trained_again_is_a_new_one(tracker, folder):
    run = track(folder, [tracker], ROUNDS[:2])
    log_half_a_round(tracker, folder, run)
    assert track(folder, [tracker], ROUNDS) == run
    assert track(folder, [tracker], ROUNDS) == run  # nothing is left to log
    assert READERS[tracker](folder, run) == expect(ROUNDS)
    again = [*ROUNDS[:2], make_round(2, loss=0.5)]
    new_run = track(folder, [tracker], again)
    assert READERS[tracker](folder, new_run) == expect(again)
    assert READERS[tracker](folder, run) == expect(ROUNDS)


def test_training_that_starts_over_is_a_new_run_although_round_0_is_the_same(folder):
    run = track(folder, [], ROUNDS)
    tracking = RoundTracking([], folder, "small.1")
    tracking.log(ROUNDS[:1])
    assert get_run(folder) == run
    tracking.log([ROUNDS[0], make_round(1, loss=0.5)])
    assert get_run(folder) != run


def test_error_of_a_tracker_does_not_stop_another(folder, caplog):
    (folder / "mlflow").write_text("a file where the folder should be")
    tracking = RoundTracking(["mlflow", "tensorboard"], folder, "small.1")
    tracking.log(ROUNDS)
    tracking.finish()
    assert tracking.failed == {"mlflow"}
    assert "mlflow failed" in caplog.text
    assert READERS["tensorboard"](folder, get_run(folder)) == expect(ROUNDS)

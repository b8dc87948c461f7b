"""A killed federation resumes after its last round and makes the same adapter."""

import random
import shutil
import time

import pytest

ROUNDS = 6
KILLS = 20
KEYS = {
    "rates": (1e-2, 1e-2),  # a learning rate that does not depend on the number of rounds
    "strategy": {"name": "fedadam", "eta": 1e-3},
    "optimizer_state": "kept",
    "communication": {"precision": "int8"},
    "training": {"max_steps": 40},
}
"""Server, clients and messages all have state that lasts from round to round."""


def finish(process):
    """Wait until a run succeeds; return the adapter's SHA-256 and the losses by round."""
    process.finish(timeout=240)
    losses = [(r["round"], r["train_loss"], r["evaluation"]) for r in process.read_rounds()]
    return process.hash_adapter(), losses


@pytest.mark.engine
def test_run_killed_twenty_times_makes_the_same_adapter(
    engine, federation_files, federate, tmp_path
):
    """The first of the killed runs also has fewer rounds."""
    engine("simulation")
    expected = finish(federate(federation_files, rounds=ROUNDS, **KEYS))
    rng, checkpoints = random.Random(0), tmp_path / "checkpoints"
    process = federate(federation_files, rounds=2, **KEYS, checkpoints=checkpoints)
    assert process.find_line("round 1")
    time.sleep(rng.random() * 0.5)
    process.kill_and_wait()
    kills = 1
    while kills < KILLS:
        process = federate(federation_files, rounds=ROUNDS, **KEYS, checkpoints=checkpoints)
        assert process.find_line("going on", "round 0")
        time.sleep(rng.random() * 14)  # workers load for two thirds of that; then rounds
        if process.kill_and_wait():
            kills += 1
        else:  # all rounds are done, so start over
            assert finish(process) == expected
            shutil.rmtree(checkpoints)
    process = federate(federation_files, rounds=ROUNDS, **KEYS, checkpoints=checkpoints)
    assert finish(process) == expected

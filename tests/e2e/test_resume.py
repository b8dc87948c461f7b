"""A killed federation resumes after its last round and makes the same adapter."""

import os
import random
import shutil
import time

import pytest
from local_grid import drop_seconds, hash_adapter

ROUNDS = 6
KILLS = int(os.environ.get("BLOSSOMTUNE_KILLS", "20"))
KEYS = {
    "rates": (1e-2, 1e-2),  # a learning rate that does not depend on the number of rounds
    "strategy": {"name": "fedadam", "eta": 1e-3},
    "optimizer_state": "kept",
    "communication": {"precision": "int8"},
    "training": {"max_steps": 40},
}
"""Server, clients and messages all have state that lasts from round to round."""


def finish(process):
    """Wait until a run succeeds; return the adapter's SHA-256 and its rounds."""
    process.finish()
    return process.hash_adapter(), drop_seconds(process.read_rounds())


@pytest.mark.engine
def test_run_killed_at_random_times_makes_the_same_adapter(
    engine, federation_files, federate, train_alike, tmp_path
):
    """The first of the killed runs also has fewer rounds."""
    engine("simulation")
    run, history = train_alike(rounds=ROUNDS, **KEYS)
    expected = hash_adapter(run), drop_seconds(history["rounds"])
    rng, checkpoints = random.Random(0), tmp_path / "checkpoints"
    process = federate(federation_files, rounds=2, **KEYS, checkpoints=checkpoints)
    assert process.find_line("round 1")
    time.sleep(rng.random() * 0.5)
    process.kill_and_wait()
    kills = 1
    while kills < KILLS:
        process = federate(federation_files, rounds=ROUNDS, **KEYS, checkpoints=checkpoints)
        assert process.find_line("going on", "round 0")
        if kills % 2:  # in a round
            process.find_line("round ")
            time.sleep(rng.random() * 2)
        else:  # most often while workers load
            time.sleep(rng.random() * 8)
        if process.kill_and_wait():
            kills += 1
        else:  # all rounds are done, so start over
            assert finish(process) == expected
            shutil.rmtree(checkpoints)
    process = federate(federation_files, rounds=ROUNDS, **KEYS, checkpoints=checkpoints)
    assert finish(process) == expected

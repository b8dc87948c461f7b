"""A federation that is killed goes on after its last round, and comes out the same to the bit."""

import json
import os
import random
import shutil
import signal
import time

import psutil
import pytest

from blossomtune.files import compute_file_sha256

ROUNDS = 6
KILLS = 20
CARRYING = {
    "rates": (1e-2, 1e-2),  # a learning rate that does not depend on the number of rounds
    "strategy": {"name": "fedadam", "eta": 1e-3},
    "optimizer_state": "kept",
    "communication": {"precision": "int8"},
    "training": {"max_steps": 40},
}
"""Server, clients and messages all carry something from round to round."""


def finish(process):
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    losses = [
        (r["round"], r["train_loss"], r["evaluation"])
        for r in json.loads(process.history.read_text())["rounds"]
    ]
    return compute_file_sha256(process.adapter / "adapter_model.safetensors"), losses, output


def kill(process):
    """SIGKILL, and wait until nothing of it is left; False if it is through already."""
    if process.poll() is not None:
        return False
    family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    process.wait()
    return True


def wait_for(process, start):
    """Reads on to a line that begins so; False if there is none."""
    return any(line.startswith(start) for line in process.stdout)


@pytest.mark.engine
def test_killed_again_and_again_with_more_rounds_than_at_first(
    engine, federation_files, federate, tmp_path
):
    engine("simulation")
    undisturbed = federate(federation_files, rounds=ROUNDS, **CARRYING)
    adapter, losses, _ = finish(undisturbed)
    chance, kept = random.Random(0), tmp_path / "kept"
    started = federate(federation_files, rounds=2, **CARRYING, checkpoints=kept)
    assert wait_for(started, "round 1")  # the first one gets to a round at least
    time.sleep(chance.random() * 0.5)
    kill(started)
    killed = 1
    while killed < KILLS:
        process = federate(federation_files, rounds=ROUNDS, **CARRYING, checkpoints=kept)
        assert wait_for(process, ("going on", "round 0"))
        time.sleep(chance.random() * 14)  # workers load for two thirds of that; then rounds
        if kill(process):
            killed += 1
        else:  # all rounds are done: from the beginning again
            assert finish(process)[:2] == (adapter, losses)
            shutil.rmtree(kept)
    again = federate(federation_files, rounds=ROUNDS, **CARRYING, checkpoints=kept)
    resumed, seen, _ = finish(again)
    assert (resumed, seen) == (adapter, losses)

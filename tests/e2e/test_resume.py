"""A federation that is killed goes on after its last round, and comes out the same to the bit."""

import json
import os
import random
import shutil
import signal
import time

import psutil
import pytest

from blossomtune.files import sha256

ROUNDS = 6
LONG = {"max_steps": 6}


def finish(process):
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def weights(process):
    return sha256(process.adapter / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def whole(federation_files, tmp_path_factory, request):
    """Digest of the adapter of a run that nobody disturbed, and its checkpoints."""
    return {}


@pytest.fixture
def undisturbed(whole, federation_files, federate, tmp_path_factory):
    if not whole:
        kept = tmp_path_factory.mktemp("checkpoints")
        process = federate(federation_files, rounds=ROUNDS, training=LONG, checkpoints=kept)
        finish(process)
        whole |= {"adapter": weights(process), "checkpoints": kept}
        whole["history"] = json.loads(process.history.read_text())
    return whole


def kill(process):
    """SIGKILL, and wait until nothing of it is left."""
    family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    process.wait()


@pytest.mark.parametrize("seed", range(int(os.environ.get("BLOSSOMTUNE_KILLS", "2"))))
def test_killed_at_a_random_moment(undisturbed, federation_files, federate, tmp_path, seed):
    chance, kept = random.Random(seed), tmp_path / "kept"
    process = federate(federation_files, rounds=ROUNDS, training=LONG, checkpoints=kept)
    until = f"round {chance.randrange(ROUNDS)}/"
    while not (line := process.stdout.readline()).startswith(until):
        assert line, "the federation ended early"
    time.sleep(chance.random() * 2)
    kill(process)
    again = federate(federation_files, rounds=ROUNDS, training=LONG, checkpoints=kept)
    output = finish(again)
    assert weights(again) == undisturbed["adapter"]
    told = json.loads(again.history.read_text())["rounds"]
    losses = [(r["train_loss"], r["evaluation"]) for r in told]
    expected = undisturbed["history"]["rounds"]
    assert losses == [(r["train_loss"], r["evaluation"]) for r in expected]
    if "going on after round" in output:
        done = int(output.partition("going on after round ")[2].partition(",")[0])
        assert f"round {done + 1}/{ROUNDS} · train" in output
        assert "round 1/6 · train" not in output or done == 0


def test_a_finished_run_is_not_trained_again(undisturbed, federation_files, federate):
    kept = undisturbed["checkpoints"]
    process = federate(federation_files, rounds=ROUNDS, training=LONG, checkpoints=kept)
    output = finish(process)
    assert "going on after round 6, which is done" in output
    assert output.count("round 6/6 · train") == 1
    assert weights(process) == undisturbed["adapter"]


def test_a_damaged_checkpoint_costs_a_round(undisturbed, federation_files, federate, tmp_path):
    kept = tmp_path / "kept"
    shutil.copytree(undisturbed["checkpoints"], kept)
    (file,) = kept.glob("*/round-00006/adapter.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    process = federate(federation_files, rounds=ROUNDS, training=LONG, checkpoints=kept)
    output = finish(process)
    assert "round-00006 is damaged, and is passed over" in output
    assert "going on after round 5" in output
    assert weights(process) == undisturbed["adapter"]


def test_more_rounds_go_on_where_the_learning_rate_allows_it(federation_files, federate, tmp_path):
    kept, rates = tmp_path / "kept", (1e-2, 1e-2)
    finish(federate(federation_files, rounds=1, rates=rates, checkpoints=kept))
    more = federate(federation_files, rounds=2, rates=rates, checkpoints=kept)
    assert "going on after round 1, which is done" in finish(more)
    at_once = federate(federation_files, rounds=2, rates=rates)
    finish(at_once)
    assert weights(more) == weights(at_once)


def test_more_rounds_start_over_where_it_anneals(federation_files, federate, tmp_path):
    kept = tmp_path / "kept"
    finish(federate(federation_files, rounds=1, checkpoints=kept))
    output = finish(federate(federation_files, rounds=2, checkpoints=kept))
    assert "starting with round 1: earlier rounds had federation.rounds: 1, now 2" in output

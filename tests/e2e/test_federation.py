"""The federate step for real: Flower's simulation, several processes, a tiny model."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from blossomtune.files import compute_file_sha256

WORKER = "ray::ClientAppActor"


def finish(process):
    output, _ = process.communicate(timeout=240)
    return process.returncode, output


def weights(process):
    return compute_file_sha256(process.adapter / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def spoiled_client(federation_files, tmp_path_factory):
    """The same files, but client 1's rows are no Arrow file."""
    copy = tmp_path_factory.mktemp("spoiled") / "preprocessed"
    shutil.copytree(federation_files["preprocessed"], copy)
    (copy / "client_1.arrow").write_bytes(b"no arrow")
    return federation_files | {"preprocessed": copy}


def test_the_number_of_cores_changes_no_bit(federation_files, federate):
    one, two = federate(federation_files, cores=1), None
    code, output = finish(one)
    assert code == 0, output
    two = federate(federation_files, cores=3)
    code, output = finish(two)
    assert code == 0, output
    assert weights(one) == weights(two)
    assert output.count("round 2/2 · train loss") == 1
    history = json.loads(two.history.read_text())
    assert history["clients"] == ["lab 0", "lab 1", "lab 2"]
    start, first, last = history["rounds"]
    assert start["train_loss"] is None
    assert last["evaluation"]["loss"] < start["evaluation"]["loss"]
    assert [c["examples"] for c in first["clients"]] == [8, 8, 8]
    assert first["learning_rate"] == 1e-2
    adapter_bytes = (two.adapter / "adapter_model.safetensors").stat().st_size
    assert 3 * adapter_bytes * 0.5 < first["bytes_down"] < 3 * adapter_bytes * 2
    assert first["failed"] == []


def test_a_failing_client_is_named_and_the_round_goes_on(spoiled_client, federate):
    process = federate(spoiled_client, min_clients=2)
    code, output = finish(process)
    assert code == 0, output
    first = json.loads(process.history.read_text())["rounds"][1]
    assert [c["client"] for c in first["clients"]] == [0, 2]
    assert [(f["client"], f["name"]) for f in first["failed"]] == [(1, "lab 1")]
    assert "failed: client 1 (lab 1): Expected to read" in output


def test_too_few_clients_stop_the_run_and_are_named(spoiled_client, federate):
    process = federate(spoiled_client, min_clients=3)
    code, output = finish(process)
    assert code == 1
    assert "error: round 1 stops: 2 of the 3 clients" in output
    assert "1 (lab 1): " in output
    assert not process.adapter.exists()
    assert not process.history.exists()


def test_a_federation_in_which_all_fail_is_a_failed_job(federation_files, federate):
    process = federate(federation_files, training={"optim": "no_such_optimizer"})
    code, output = finish(process)
    assert code == 1
    assert "error: round 1 stops: 0 of the 1 clients" in output
    assert all(f"{i} (lab {i}): training.arguments" in output for i in range(3))


def test_a_killed_worker_is_replaced_and_its_client_trains_again(federation_files, federate):
    process = federate(federation_files, cores=1, rounds=2, training={"max_steps": 60})
    line = process.stdout.readline()
    while not line.startswith("round 0"):
        assert line, "the federation ended early"
        line = process.stdout.readline()
    time.sleep(1)  # in the middle of round 1
    workers = [c for c in psutil.Process(process.pid).children(recursive=True) if _is_worker(c)]
    assert len(workers) == 1
    workers[0].send_signal(signal.SIGKILL)
    code, output = finish(process)
    assert code == 0, output
    rounds = json.loads(process.history.read_text())["rounds"]
    assert [len(r["clients"]) for r in rounds] == [0, 3, 3]


def test_nothing_is_left_after_sigkill(federation_files, federate):
    process = federate(federation_files, cores=2, training={"max_steps": 200})
    while not process.stdout.readline().startswith("round 0"):
        pass
    family = psutil.Process(process.pid).children(recursive=True)
    assert any(_is_worker(child) for child in family)
    os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert [child.cmdline() for child in alive] == []


def test_nothing_is_left_after_sigterm(federation_files, federate):
    process = federate(federation_files, training={"max_steps": 2000})
    while not process.stdout.readline().startswith("round 0"):
        pass
    family = psutil.Process(process.pid).children(recursive=True)
    scratch = {Path(p.environ()["FLWR_HOME"]) for p in family if _is_worker(p)}
    process.terminate()
    process.wait(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert [child.cmdline() for child in alive] == []
    assert not any(path.exists() for path in scratch)


def test_nothing_is_left_after_success(federation_files, federate):
    process = federate(federation_files, rounds=1)
    while not process.stdout.readline().startswith("round 0"):
        pass
    family = psutil.Process(process.pid).children(recursive=True)
    scratch = {Path(p.environ().get("FLWR_HOME", "/nowhere")) for p in family if _is_worker(p)}
    code, output = finish(process)
    assert code == 0, output
    _, alive = psutil.wait_procs(family, timeout=30)
    assert [child.cmdline() for child in alive] == []
    assert scratch
    assert not any(path.exists() for path in scratch)


def _is_worker(process):
    try:
        return WORKER in " ".join(process.cmdline())
    except psutil.Error:
        return False

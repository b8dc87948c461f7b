"""The federate step on Flower's simulation engine, with a tiny model."""

import shutil
import time
from pathlib import Path

import psutil
import pytest
from federate_process import wait_for_exit
from local_grid import hash_adapter

from blossomtune.files import read_json

WORKER = "ray::ClientAppActor"


def find_workers(processes):
    """Return the processes that are Ray workers of Flower's simulation."""
    return [process for process in processes if _is_worker(process)]


def _is_worker(process):
    try:
        return WORKER in " ".join(process.cmdline())
    except psutil.Error:
        return False


@pytest.fixture(scope="module")
def files_with_invalid_rows(federation_files, tmp_path_factory):
    """Return the same files, except that client 1's rows are no Arrow file."""
    copy = tmp_path_factory.mktemp("invalid") / "preprocessed"
    shutil.copytree(federation_files["preprocessed"], copy)
    (copy / "client_1.arrow").write_bytes(b"no arrow")
    return federation_files | {"preprocessed": copy}


def test_three_workers_make_the_adapter_of_one_process_and_leave_nothing_behind(
    federation_files, federate, train_alike
):
    process = federate(federation_files, cores=3)
    assert process.find_line("round 0")
    children = process.list_children()
    folders = {Path(worker.environ()["FLWR_HOME"]) for worker in find_workers(children)}
    output = process.finish()
    wait_for_exit(children)
    assert folders
    assert not any(folder.exists() for folder in folders)
    run, _ = train_alike()
    assert process.hash_adapter() == hash_adapter(run)
    assert output.count("round 2/2 · train loss") == 1
    assert "DeprecationWarning" not in output
    assert read_json(process.history)["clients"] == ["lab 0", "lab 1", "lab 2"]
    start, first, last = process.read_rounds()
    assert start["train_loss"] is None
    assert last["evaluation"]["loss"] < start["evaluation"]["loss"]
    assert [c["examples"] for c in first["clients"]] == [8, 8, 8]
    assert first["learning_rate"] == 1e-2
    adapter_bytes = (process.adapter / "adapter_model.safetensors").stat().st_size
    assert 3 * adapter_bytes * 0.5 < first["bytes_down"] < 3 * adapter_bytes * 2
    assert first["failed"] == []


def test_failed_client_is_named_and_the_round_continues(files_with_invalid_rows, federate):
    process = federate(files_with_invalid_rows, min_clients=2, cores=1)
    output = process.finish()
    first = process.read_rounds()[1]
    assert [c["client"] for c in first["clients"]] == [0, 2]
    assert [(f["client"], f["name"]) for f in first["failed"]] == [(1, "lab 1")]
    assert "failed: client 1 (lab 1): Expected to read" in output


def test_too_few_clients_stop_the_run_and_the_failed_one_is_named(
    files_with_invalid_rows, federate
):
    process = federate(files_with_invalid_rows, min_clients=3, cores=1)
    output = process.finish(returncode=1)
    assert "error: round 1 stops: 2 of the 3 clients" in output
    assert "1 (lab 1): Expected to read" in output
    assert not process.adapter.exists()
    assert not process.history.exists()


def test_killed_worker_is_replaced_and_its_client_trains_again(
    federation_files, federate, train_alike
):
    keys = {"rounds": 2, "training": {"max_steps": 60}}
    process = federate(federation_files, cores=1, **keys)
    assert process.find_line("round 0")
    time.sleep(1)  # in the middle of round 1
    [worker] = find_workers(process.list_children())
    worker.kill()
    process.finish()
    assert [len(r["clients"]) for r in process.read_rounds()] == [0, 3, 3]
    run, _ = train_alike(**keys)
    assert process.hash_adapter() == hash_adapter(run)


def test_killed_run_leaves_no_process_behind(federation_files, federate):
    process = federate(federation_files, cores=2, training={"max_steps": 200})
    assert process.find_line("round 0")
    children = process.list_children()
    assert find_workers(children)
    process.kill()
    wait_for_exit(children, 60)


def test_terminated_run_leaves_no_process_or_folder_behind(federation_files, federate):
    process = federate(federation_files, cores=1, training={"max_steps": 2000})
    assert process.find_line("round 0")
    children = process.list_children()
    folders = {Path(worker.environ()["FLWR_HOME"]) for worker in find_workers(children)}
    process.terminate()
    process.wait(timeout=60)
    wait_for_exit(children)
    assert not any(folder.exists() for folder in folders)

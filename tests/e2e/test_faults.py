"""Faults of SuperNodes and disks: the round continues, or the run stops and is resumed."""

import itertools
import os
import signal
from pathlib import Path

import pytest
from federate_process import EXPECTED_KEYS, wait_for_exit
from flwr.app import Message
from invalid_replies import FAULTS, build_invalid_reply
from local_grid import hash_adapter
from patience import wait_until
from small_disks import fill, mount_small_disk

from blossomtune.deployment.backend import SUPERLINK
from blossomtune.deployment.flower_internal import TaskType, pull_task_input, push_message
from blossomtune.deployment.flower_tasks import acquire_task, connect_runtime, heartbeat
from blossomtune.deployment.session import MAX_RESTARTS

pytestmark = pytest.mark.engine


@pytest.fixture
def start(engine, federate, federation_files):
    """Return a function that starts the federation on the process engine."""
    engine("process")
    return lambda **keys: federate(federation_files, engine="process", **(EXPECTED_KEYS | keys))


def suspend_trainer(process, client):
    process.find_children("trainer")[client].send_signal(signal.SIGSTOP)


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of eight megabytes; return its folder."""
    (tmp_path / "disk").mkdir()
    with mount_small_disk(tmp_path / "disk", 8) as folder:
        yield folder


def test_client_past_the_round_timeout_is_left_out(start):
    process = start(min_clients=2, round_timeout=60, rounds=2)
    process.wait_for_round(1)
    children = process.list_children()
    suspend_trainer(process, 1)
    assert "failed: client 1 (lab 1): no answer in 60 s" in process.finish()
    assert process.list_clients() == [[0, 1, 2], [0, 2]]
    wait_for_exit(children)


def test_run_that_is_stopped_three_times_makes_the_same_adapter(start, train_alike, small_disk):
    """The SuperLink is killed, a client is too late, and the disk is full: one after the other."""
    keys = {"rounds": 5, "checkpoints": small_disk / "checkpoints", "min_clients": 3}
    process = start(**keys)
    process.wait_for_round(1)
    [superlink] = [child for child in process.list_children() if child.name() == SUPERLINK]
    superlink.kill()
    assert "error: superlink ended with -9" in process.finish(returncode=1)

    process = start(**keys, round_timeout=60)
    process.wait_for_round(2)
    suspend_trainer(process, 1)
    output = process.finish(returncode=1)
    assert "2 of the 3 clients that federation.min_clients asks for answered" in output
    assert "1 (lab 1): no answer in 60 s" in output

    process = start(**keys)
    process.wait_for_round(3)
    filler = fill(small_disk)
    output = process.finish(returncode=1)
    assert "no space left on" in output.lower()
    assert f"on {small_disk} and run the same command again" in output, output
    filler.unlink()

    process = start(**keys)
    assert "going on after round" in process.finish()
    run, _ = train_alike(rounds=5, optimizer_state="kept")
    assert process.hash_adapter() == hash_adapter(run)


def test_supernode_that_keeps_failing_is_given_up(start):
    """It may have trained in the first round, which another client keeps from ending."""
    process = start(min_clients=2, rounds=3)
    trainer = wait_until(lambda: process.find_children("trainer").get(1))
    trainer.suspend()
    for _ in range(1 + MAX_RESTARTS):
        node = wait_until(lambda: process.find_children("supernode").get(0))
        node.kill()
        wait_until(lambda node=node: not node.is_running())
    output = "".join(itertools.takewhile(lambda line: "it is gone" not in line, process.stdout))
    assert output.count("it is started again") == MAX_RESTARTS
    assert "supernode_0 ended with -9" in output
    trainer.resume()
    process.finish()
    assert process.list_clients()[1:] == [[1, 2], [1, 2]]


def test_invalid_replies_of_an_authenticated_client_do_not_count(start, hash_without_client):
    """The client's trainer is suspended, and the test replies in its place, one fault a round."""
    rounds = 1 + len(FAULTS)
    process = start(min_clients=2, rounds=rounds, quarantine=0)
    process.wait_for_round(1)
    suspend_trainer(process, 1)
    socket = process.get_run_folder() / "supernode_1" / "supernode.sock"
    for fault in FAULTS:
        with connect_runtime(socket) as tasks:
            token = wait_until(lambda tasks=tasks: acquire_task(tasks, TaskType.CLIENT_APP))
        with connect_runtime(socket, token) as task, heartbeat(task):
            message, context, _, _ = pull_task_input(task)
            content = build_invalid_reply(message.content, fault)
            push_message(task, Message(content, reply_to=message), context)
    output = process.finish()
    assert process.list_clients() == [[0, 1, 2], *[[0, 2]] * len(FAULTS)], output
    for record, reason in zip(process.read_rounds()[2:], FAULTS.values(), strict=True):
        [failure] = record["failed"]
        assert reason in failure["reason"], output
    assert process.hash_adapter() == hash_without_client(1, 2, rounds=rounds)


@pytest.fixture
def limit_memory():
    """Return a function that limits the memory of a process from now on, by a control group."""
    unified, memory = Path("/sys/fs/cgroup/cgroup.controllers"), Path("/sys/fs/cgroup/memory")
    parent = unified.parent if unified.exists() else memory
    if not os.access(parent / "cgroup.procs", os.W_OK) or not os.path.ismount(parent):
        pytest.skip("no control group of memory can be made here")
    group = parent / f"blossomtune-test-{os.getpid()}"
    group.mkdir()
    limit = group / ("memory.max" if unified.exists() else "memory.limit_in_bytes")
    if not limit.exists():
        group.rmdir()
        pytest.skip("there is no controller of memory here")

    def move(process, num_bytes):
        limit.write_text(str(num_bytes))
        (group / "cgroup.procs").write_text(str(process.pid))

    yield move
    wait_until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def test_trainer_that_is_killed_for_lack_of_memory_is_started_again(
    start, expected_hash, limit_memory
):
    process = start(min_clients=3)
    process.wait_for_round(1)
    limit_memory(process.find_children("trainer")[1], 2**12)  # of its pages from now on
    output = process.finish()
    assert "the trainer of client 1 was killed by signal 9" in output
    assert "memory" in output
    assert process.list_clients() == [[0, 1, 2]] * 3
    assert process.hash_adapter() == expected_hash


def test_full_disk_of_a_client_is_its_failure(start, hash_without_client):
    """The client keeps the state of its optimizer on a disk of its own."""
    process = start(min_clients=2, rounds=2)
    process.wait_for_round(1)
    suspend_trainer(process, 1)
    [folder] = process.checkpoints.glob("*/clients/1")
    with mount_small_disk(folder, 1):
        fill(folder)
        process.find_children("trainer")[1].send_signal(signal.SIGCONT)
        output = process.finish()
    assert process.list_clients() == [[0, 1, 2], [0, 2]], output
    [failure] = process.read_rounds()[2]["failed"]
    assert "no space left on the disk while writing" in failure["reason"]
    assert f"on {folder}" in failure["reason"]
    assert process.hash_adapter() == hash_without_client(1, 2, rounds=2)

"""Faults of real SuperNodes: the round continues, or the run stops and is resumed."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress

import psutil
import pytest
from flwr.app import Message, MetricRecord, RecordDict
from leftovers import wait_until
from running import (
    SETTINGS,
    find_children,
    find_scratch_dir,
    hash_adapter,
    wait_for_round,
    wait_for_success,
)

from blossomtune.deployment.flower_internal import TaskType, pull_task_input, push_message
from blossomtune.deployment.flower_tasks import acquire_task, connect_runtime, heartbeat
from blossomtune.deployment.session import MAX_RESTARTS
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.records import ADAPTER_RECORD, METRICS_RECORD
from blossomtune.federation.messages.replies import TRAIN_METRICS
from blossomtune.files import read_json

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def simulated(federations, federation_files):
    """Return the finished simulation of the federation without faults."""
    process = federations(federation_files, engine="simulation", **SETTINGS)
    wait_for_success(process)
    return process


@pytest.fixture
def start(engine, federate, federation_files):
    """Return a function that starts the federation with SuperNodes."""
    engine("process")
    return lambda **keys: federate(federation_files, engine="process", **(SETTINGS | keys))


def wait_for_failure(process):
    """Wait until a run ends with an error; return its output."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    return output


def list_trained_clients(process):
    """Return the clients of each round, except round 0, which trains none."""
    rounds = read_json(process.history)["rounds"][1:]
    return [[c["client"] for c in r["clients"]] for r in rounds]


def test_client_without_a_reply_in_time_is_left_out_and_cleaned_up(start):
    process = start(min_clients=2, round_timeout=60, rounds=2)
    wait_for_round(process, 1)
    children = psutil.Process(process.pid).children(recursive=True)
    find_children(process, "trainer")[1].send_signal(signal.SIGSTOP)
    output = wait_for_success(process)
    assert "failed: client 1 (lab 1): no answer in 60 s" in output
    assert list_trained_clients(process) == [[0, 1, 2], [0, 2]]
    _, left = psutil.wait_procs(children, timeout=30)
    assert left == []


def test_run_with_too_few_replies_stops_and_can_be_resumed(start, simulated):
    process = start(min_clients=3, round_timeout=60)
    wait_for_round(process, 1)
    find_children(process, "trainer")[1].send_signal(signal.SIGSTOP)
    output = wait_for_failure(process)
    assert "2 of the 3 clients that federation.min_clients asks for answered" in output
    assert "1 (lab 1): no answer in 60 s" in output
    again = start(checkpoints=process.adapter.parent / "checkpoints")
    assert "going on after round" in wait_for_success(again)
    assert hash_adapter(again) == hash_adapter(simulated)


def test_supernode_that_never_connects_fails_after_its_restarts(start):
    process = start(min_clients=2, rounds=1)
    for _ in range(1 + MAX_RESTARTS):
        node = wait_until(lambda: find_children(process, "supernode").get(0))
        node.kill()
        wait_until(lambda node=node: not node.is_running())
    output = wait_for_success(process)
    assert output.count("it is started again") == MAX_RESTARTS
    assert "supernode_0 ended with -9" in output
    assert list_trained_clients(process) == [[1, 2]]


def build_invalid_reply(content, fault):
    """Return a reply with a wrong shape, or with a NaN."""
    state = codec.decode(content[ADAPTER_RECORD])
    name = next(iter(state))
    state[name] = state[name][1:] if fault == "shape" else state[name] / 0 * 0
    numbers = MetricRecord(dict.fromkeys(TRAIN_METRICS, 1.0))
    return RecordDict({ADAPTER_RECORD: codec.encode(state, "float32")[0], METRICS_RECORD: numbers})


@pytest.mark.parametrize(
    ("fault", "message"), [("shape", "instead of"), ("nan", "holds values that are not finite")]
)
def test_invalid_reply_with_the_right_key_is_rejected(start, fault, message):
    """The client's trainer is stopped, and this test replies in its place."""
    process = start(min_clients=2, rounds=2)
    wait_for_round(process, 1)
    folder = find_scratch_dir(psutil.Process(process.pid).children(recursive=True))
    find_children(process, "trainer")[1].send_signal(signal.SIGSTOP)
    socket = folder / "supernode_1" / "supernode.sock"
    with connect_runtime(socket) as tasks:
        token = wait_until(lambda: acquire_task(tasks, TaskType.CLIENT_APP))
    with connect_runtime(socket, token) as task, heartbeat(task):
        request, context, _, _ = pull_task_input(task)
        push_message(
            task, Message(build_invalid_reply(request.content, fault), reply_to=request), context
        )
    output = wait_for_success(process)
    assert list_trained_clients(process) == [[0, 1, 2], [0, 2]], output
    assert message in output


@pytest.fixture
def small_disk(tmp_path):
    """Yield a folder on a file system of 8 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_run_stops_on_a_full_disk_and_can_be_resumed(start, simulated, small_disk):
    process = start(checkpoints=small_disk / "checkpoints")
    wait_until(lambda: any(small_disk.glob("checkpoints/*/round-?????")))
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(2**12)):
            pass
    assert shutil.disk_usage(small_disk).free < 2**12
    output = wait_for_failure(process)
    assert (
        "no space left on the disk" in output.lower() or "no space left on device" in output.lower()
    )
    filler.unlink()
    again = start(checkpoints=small_disk / "checkpoints")
    assert "going on after round" in wait_for_success(again)
    assert hash_adapter(again) == hash_adapter(simulated)

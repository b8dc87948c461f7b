"""What goes wrong with real SuperNodes: the round goes on, or the run stops and goes on later."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress

import psutil
import pytest
from flwr.app import Message, MetricRecord, RecordDict
from leftovers import until
from test_engines import KEYS, family, finished, has_round, scratch, weights

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
    """The federation without faults, as a simulation."""
    process = federations(federation_files, engine="simulation", **KEYS)
    finished(process)
    return process


@pytest.fixture
def start(engine, federate, federation_files):
    """Starts it with SuperNodes."""
    engine("process")
    return lambda **keys: federate(federation_files, engine="process", **(KEYS | keys))


def stopped(process):
    """What a run says that ends with an error."""
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1, said
    return said


def who(process):
    """The clients of each round but the first, which trains nobody."""
    rounds = read_json(process.history)["rounds"][1:]
    return [[c["client"] for c in r["clients"]] for r in rounds]


def test_a_client_past_the_deadline_is_left_out_and_nothing_of_it_is_left(start):
    process = start(min_clients=2, round_timeout=60, rounds=2)
    has_round(process, 1)
    everyone = psutil.Process(process.pid).children(recursive=True)
    family(process, "trainer")[1].send_signal(signal.SIGSTOP)
    said = finished(process)
    assert "failed: client 1 (lab 1): no answer in 60 s" in said
    assert who(process) == [[0, 1, 2], [0, 2]]
    _, left = psutil.wait_procs(everyone, timeout=30)
    assert left == []


def test_too_few_in_time_stop_the_run_which_then_goes_on(start, simulated):
    process = start(min_clients=3, round_timeout=60)
    has_round(process, 1)
    family(process, "trainer")[1].send_signal(signal.SIGSTOP)
    said = stopped(process)
    assert "2 of the 3 clients that federation.min_clients asks for answered" in said
    assert "1 (lab 1): no answer in 60 s" in said
    again = start(checkpoints=process.adapter.parent / "checkpoints")
    assert "going on after round" in finished(again)
    assert weights(again) == weights(simulated)


def test_a_supernode_that_never_comes_is_gone_after_a_few_attempts(start):
    process = start(min_clients=2, rounds=1)
    for _ in range(1 + MAX_RESTARTS):
        node = until(lambda: family(process, "supernode").get(0))
        node.kill()
        until(lambda node=node: not node.is_running())
    said = finished(process)
    assert said.count("it is started again") == MAX_RESTARTS
    assert "supernode_0 ended with -9" in said
    assert who(process) == [[1, 2]]


def spoiled(content, how):
    """A client's answer with another shape than wanted, or with a NaN."""
    state = codec.decode(content[ADAPTER_RECORD])
    name = next(iter(state))
    state[name] = state[name][1:] if how == "shape" else state[name] / 0 * 0
    numbers = MetricRecord(dict.fromkeys(TRAIN_METRICS, 1.0))
    return RecordDict({ADAPTER_RECORD: codec.encode(state, "float32")[0], METRICS_RECORD: numbers})


@pytest.mark.parametrize(
    ("how", "why"), [("shape", "instead of"), ("nan", "holds values that are not finite")]
)
def test_garbage_of_a_client_with_the_right_key_does_not_count(start, how, why):
    """Its trainer is stopped, and we answer in its place."""
    process = start(min_clients=2, rounds=2)
    has_round(process, 1)
    folder = scratch(psutil.Process(process.pid).children(recursive=True))
    family(process, "trainer")[1].send_signal(signal.SIGSTOP)
    socket = folder / "supernode_1" / "supernode.sock"
    with connect_runtime(socket) as tasks:
        token = until(lambda: acquire_task(tasks, TaskType.CLIENT_APP))
    with connect_runtime(socket, token) as task, heartbeat(task):
        message, context, _, _ = pull_task_input(task)
        push_message(task, Message(spoiled(message.content, how), reply_to=message), context)
    said = finished(process)
    assert who(process) == [[0, 1, 2], [0, 2]], said
    assert why in said


@pytest.fixture
def small_disk(tmp_path):
    """A file system of eight megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_stops_the_run_which_goes_on_when_there_is_space(start, simulated, small_disk):
    process = start(checkpoints=small_disk / "checkpoints")
    until(lambda: any(small_disk.glob("checkpoints/*/round-?????")))
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(2**12)):
            pass
    assert shutil.disk_usage(small_disk).free < 2**12
    said = stopped(process)
    assert "no space left on the disk" in said.lower() or "no space left on device" in said.lower()
    filler.unlink()
    again = start(checkpoints=small_disk / "checkpoints")
    assert "going on after round" in finished(again)
    assert weights(again) == weights(simulated)

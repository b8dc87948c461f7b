"""One federation on every engine that this host has, and what can go wrong there."""

import signal
import time
from contextlib import suppress

import psutil
import pytest

from blossomtune.files import read_json, sha256

KEYS = {"rounds": 3, "optimizer_state": "kept"}


def finished(process):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def weights(process):
    return sha256(process.adapter / "adapter_model.safetensors")


def family(process, module):
    """The processes below one that run a module, by client (None for the SuperLink)."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            words = child.cmdline()
            if f"blossomtune.launch.{module}" in words:
                client = int(words[words.index("--client") + 1]) if "--client" in words else None
                found[client] = child
    return found


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def has_round(process, number):
    """Waits until a round is done."""
    folder = process.adapter.parent / "checkpoints"
    until(lambda: any(int(f.name[-5:]) >= number for f in folder.glob("*/round-?????")))


def test_processes_make_the_same_adapter_whoever_is_killed(federate, federation_files):
    """A SuperNode and another one's trainer die in round 2; both come back and train again."""
    one = federate(federation_files, engine="simulation", **KEYS)
    finished(one)
    two = federate(federation_files, engine="process", **KEYS)
    has_round(two, 1)
    family(two, "supernode")[0].kill()
    family(two, "trainer")[1].kill()
    said = finished(two)
    assert weights(one) == weights(two), said
    assert "supernode_0 ended with -9" in said
    assert "the trainer of client 1 was killed by signal 9" in said
    rounds = read_json(two.history)["rounds"]
    assert [len(r["clients"]) for r in rounds] == [0, 3, 3, 3]
    assert {path.name for path in two.logs.iterdir()} == {
        "superlink.log",
        *(f"supernode_{i}.log" for i in range(3)),
    }


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "asked to end"])
def test_a_run_that_ends_leaves_nothing_behind(federate, federation_files, number):
    process = federate(federation_files, engine="process", **(KEYS | {"rounds": 50}))
    has_round(process, 1)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 1 + 1 + 3 * 2  # the guard, the SuperLink, SuperNodes and trainers
    process.send_signal(number)
    process.wait(60)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_a_dead_superlink_stops_the_run_which_then_goes_on(federate, federation_files):
    rates = (1e-2, 1e-2)
    whole = federate(federation_files, engine="simulation", rates=rates, **KEYS)
    finished(whole)
    process = federate(federation_files, engine="process", rates=rates, **KEYS)
    has_round(process, 1)
    family(process, "superlink")[None].kill()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "error: superlink ended with -9" in said, said
    checkpoints = process.adapter.parent / "checkpoints"
    again = federate(
        federation_files, engine="process", rates=rates, checkpoints=checkpoints, **KEYS
    )
    said = finished(again)
    assert "going on after round" in said
    assert weights(again) == weights(whole)

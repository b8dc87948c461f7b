"""The reaper cleans up after processes that end in any way."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

import blossomtune

SCRIPTS = Path(blossomtune.__file__).parents[1]

PROGRAM = """
import subprocess, sys
from blossomtune.deployment.reaper import start_reaper
with start_reaper() as scratch:
    subprocess.Popen(["sleep", "600"])
    print(scratch, flush=True)
    sys.stdin.read()
"""


def _start(program):
    """Start a run; return its process and its scratch folder."""
    run = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=SCRIPTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return run, Path(run.stdout.readline().strip())


def _wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def _ignores(process, number):
    status = Path(f"/proc/{process.pid}/status").read_text()
    [mask] = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn")]
    return int(mask, 16) >> (number - 1) & 1


def test_nothing_is_left_after_a_signal_to_run_and_reaper():
    """Clusters that cancel a job send SIGTERM to each of its processes."""
    run, scratch = _start(PROGRAM)
    children = psutil.Process(run.pid).children()
    [reaper] = [child for child in children if "reaper.py" in " ".join(child.cmdline())]
    _wait_until(lambda: _ignores(reaper, signal.SIGTERM))
    time.sleep(1.5)  # it lists the children once per second
    reaper.terminate()
    run.terminate()
    run.communicate()
    _wait_until(lambda: not scratch.exists())
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


MARKED_CHILD = """
import os, subprocess, sys
from blossomtune.deployment.reaper import RUN_VARIABLE, start_reaper
with start_reaper() as scratch:
    print(scratch, flush=True)
    sys.stdin.readline()
    child = subprocess.Popen(["sleep", "600"], env=os.environ | {RUN_VARIABLE: scratch})
    print(child.pid, flush=True)
    sys.stdin.read()
"""


def test_process_is_killed_that_starts_just_before_the_run_is_killed():
    run, scratch = _start(MARKED_CHILD)
    [reaper] = psutil.Process(run.pid).children()
    _wait_until(lambda: _ignores(reaper, signal.SIGTERM))
    print(file=run.stdin, flush=True)
    child = psutil.Process(int(run.stdout.readline()))
    run.kill()
    run.communicate()
    psutil.wait_procs([child], timeout=30)
    assert not child.is_running()
    assert not scratch.exists()

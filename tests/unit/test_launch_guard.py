"""The process that stops and removes what another one leaves."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

import blossomtune

SCRIPTS = Path(blossomtune.__file__).parents[1]

RUN = """
import subprocess, sys
from blossomtune.deployment.reaper import start_reaper
with start_reaper() as scratch:
    subprocess.Popen(["sleep", "600"])
    print(scratch, flush=True)
    sys.stdin.read()
"""


def _until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def _ignores(process, number):
    status = Path(f"/proc/{process.pid}/status").read_text()
    [mask] = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn")]
    return int(mask, 16) >> (number - 1) & 1


def test_what_asks_the_guard_to_end_too_leaves_nothing():
    """As a cluster does that cancels a job."""
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=SCRIPTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    scratch = Path(run.stdout.readline().strip())
    children = psutil.Process(run.pid).children()
    [guard] = [child for child in children if "reaper.py" in " ".join(child.cmdline())]
    _until(lambda: _ignores(guard, signal.SIGTERM))
    time.sleep(1.5)  # it looks for children once a second
    guard.terminate()
    run.terminate()
    run.communicate()
    _until(lambda: not scratch.exists())
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []

"""Processes end within two seconds when the process that they serve is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

LIBRARY = Path(__file__).parents[2] / "workflow_scripts"

SLEEP = "import time; time.sleep(60)"

CHILD_OF_MULTIPROCESSING = """
import multiprocessing, os, time
from blossomtune.process_lifetime import exit_with_parent
def work(connection):
    exit_with_parent()
    connection.send(os.getpid())
    time.sleep(60)
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    ours, theirs = context.Pipe()
    context.Process(target=work, args=(theirs,)).start()
    print(ours.recv(), flush=True)
    time.sleep(60)
"""

SCRIPT = """
import time
from blossomtune import cli
def main():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
cli.run_script(main)
"""


def start(program, **variables):
    environment = os.environ | {"PYTHONPATH": str(LIBRARY)} | variables
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def start_below(tmp_path):
    """Return a function that runs a program as the grandchild of a process with a given name."""
    processes = []

    def start_program(name, program):
        parent = tmp_path / name
        parent.write_text("import subprocess, sys\nsubprocess.run(sys.argv[1])\n")
        child = tmp_path / "child.py"
        child.write_text(program)
        shell = tmp_path / "shell"
        shell.write_text(f"#!/bin/sh\n'{sys.executable}' '{child}'\n:\n")
        shell.chmod(0o755)
        environment = os.environ | {"PYTHONPATH": str(LIBRARY)}
        process = subprocess.Popen(
            [sys.executable, parent, shell], env=environment, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start_program
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_child_ends_with_killed_parent(tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(CHILD_OF_MULTIPROCESSING.format(method=method))
    environment = os.environ | {"PYTHONPATH": str(LIBRARY)}
    parent = subprocess.Popen(
        [sys.executable, program], env=environment, stdout=subprocess.PIPE, text=True
    )
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    try:
        psutil.wait_procs([child], timeout=2)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    finally:
        parent.communicate()


def test_step_cleans_up_when_snakemake_is_killed(start_below):
    snakemake = start_below("snakemake", SCRIPT)
    assert snakemake.stdout.readline() == "ready\n"
    snakemake.kill()
    assert snakemake.stdout.read() == "cleaned up\n"


@pytest.mark.parametrize("name", ["another", "snakemake-like"])
def test_step_that_a_person_started_outlives_its_shell(start_below, name):
    person = start_below(name, SCRIPT.replace("sleep(60)", "sleep(3)"))
    assert person.stdout.readline() == "ready\n"
    person.kill()
    started = time.monotonic()
    assert person.stdout.read() == "cleaned up\n"
    assert time.monotonic() - started > 2


def test_process_that_has_ended_before_counts_as_ended():
    program = f"""
from blossomtune.process_lifetime import signal_self_when_process_ends
signal_self_when_process_ends(4194303, {signal.SIGTERM:d})
{SLEEP}
"""
    process = start(program)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_reused_process_id_counts_as_ended():
    """The watched id exists again, with another creation time."""
    program = f"""
import os, psutil
from blossomtune.process_lifetime import signal_self_when_process_ends
psutil.Process.is_running = lambda self: self._ident == (os.getppid(), 1.0)
signal_self_when_process_ends(os.getppid(), {signal.SIGTERM:d})
{SLEEP}
"""
    process = start(program)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM

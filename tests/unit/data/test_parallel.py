"""Tests of worker processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from endless_templates import NESTED_LOOPS, UNINTERRUPTIBLE
from patience import wait_until

import blossomtune
from blossomtune import work_limits
from blossomtune.data.parallel import Worker, map_ordered, run_in_worker
from blossomtune.data.templates import Template
from blossomtune.errors import UserError
from blossomtune.worker_notes import note_file, note_row

LIBRARY = Path(blossomtune.__file__).parents[1]


@pytest.mark.parametrize("cores", [0, 1, 2, 3])
def test_results_are_in_the_order_of_the_tasks(cores):
    def square(number):
        time.sleep(0.02 * (number % 3))
        return number * number, os.getpid()

    results = list(map_ordered(square, range(12), cores))
    assert [number for number, _ in results] == [i * i for i in range(12)]
    assert (os.getpid() in {pid for _, pid in results}) == (cores < 2)


def test_pending_tasks_are_bounded(tmp_path):
    results = map_ordered(lambda i: (tmp_path / str(i)).touch(), range(100), 2)
    next(results)
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 6
    results.close()


@pytest.mark.parametrize("cores", [1, 2])
def test_errors_of_the_function_are_raised(cores):
    def fail(number):
        raise UserError(f"row {number}", "mend it")

    with pytest.raises(UserError, match=r"^row 0\n  hint: mend it$"):
        list(map_ordered(fail, range(9), cores))


def test_killed_worker_is_reported():
    with pytest.raises(UserError, match="a worker process was killed; most often"):
        list(map_ordered(lambda _: os.kill(os.getpid(), signal.SIGKILL), range(4), 2))


def test_isolated_task_runs_in_another_process():
    pids = list(map_ordered(lambda _: os.getpid(), range(3), 1, isolate=True))
    assert len({os.getpid(), *pids}) == 2
    assert run_in_worker(os.getppid) == os.getpid()


def test_template_that_takes_too_long_is_reported_with_file_and_row(monkeypatch):
    monkeypatch.setattr(work_limits, "CPU_SECONDS", 0.3)
    with pytest.raises(UserError, match=r"^a\.csv: row 5: text takes more than 0\.3 s") as error:
        run_in_worker(render, NESTED_LOOPS)
    assert "hint: simplify it, or leave the row out" in str(error.value)


def test_worker_in_one_endless_operation_is_killed_and_reported(monkeypatch):
    monkeypatch.setattr(work_limits, "CPU_SECONDS", 0.2)
    monkeypatch.setattr(work_limits, "KILL_CPU_SECONDS", 0.5)
    with pytest.raises(UserError, match=r"^a\.csv: row 5: text takes more than 0\.5 s"):
        run_in_worker(render, UNINTERRUPTIBLE)


def test_worker_is_one_process_until_it_is_killed(monkeypatch):
    monkeypatch.setattr(work_limits, "CPU_SECONDS", 0.2)
    monkeypatch.setattr(work_limits, "KILL_CPU_SECONDS", 0.5)
    worker = Worker(lambda source: (os.getpid(), render(source)))
    first, text = worker.call("{{ text }}")
    assert (first != os.getpid(), text) == (True, "a")
    assert worker.call("{{ text }}")[0] == first
    with pytest.raises(UserError, match=r"text takes more than 0\.2 s"):
        worker.call(NESTED_LOOPS)
    assert worker.call("{{ text }}")[0] == first
    with pytest.raises(UserError, match=r"text takes more than 0\.5 s"):
        worker.call(UNINTERRUPTIBLE)
    assert not _is_alive(first)
    second, _ = worker.call("{{ text }}")
    assert second != first
    worker.close()
    assert not _is_alive(second)


def render(source):
    note_file("a.csv")
    note_row(5)
    return Template("text", source).render({"text": "a"}, "row 5")


def test_workers_end_with_a_killed_parent(tmp_path):
    program = f"""
import os, pathlib, time
from blossomtune.data.parallel import map_ordered
def work(number):
    (pathlib.Path({str(tmp_path)!r}) / str(os.getpid())).touch()
    time.sleep(60)
list(map_ordered(work, range(9), 3))
"""
    parent = subprocess.Popen([sys.executable, "-c", program], env={"PYTHONPATH": str(LIBRARY)})
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 3)
    finally:
        parent.kill()
        parent.wait()
    workers = [path.name for path in tmp_path.iterdir()]
    wait_until(lambda: not any(map(_is_alive, workers)), seconds=10)


def _is_alive(pid):
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

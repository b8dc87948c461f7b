import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blossomtune.data.tokenization.parallel import map_ordered
from blossomtune.errors import UserError

LIBRARY = Path(__file__).parents[2] / "workflow_scripts"


@pytest.mark.parametrize("cores", [0, 1, 2, 3])
def test_results_come_in_order(cores):
    def square(number):
        time.sleep(0.02 * (number % 3))
        return number * number, os.getpid()

    results = list(map_ordered(square, range(12), cores))
    assert [number for number, _ in results] == [i * i for i in range(12)]
    assert (os.getpid() in {pid for _, pid in results}) == (cores < 2)


def test_few_are_under_way(tmp_path):
    """What nobody has taken yet waits, so that memory does not grow."""
    results = map_ordered(lambda i: (tmp_path / str(i)).touch(), range(100), 2)
    next(results)
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 6
    results.close()


@pytest.mark.parametrize("cores", [1, 2])
def test_what_a_user_can_mend_arrives_as_such(cores):
    def fail(number):
        raise UserError(f"row {number}", "mend it")

    with pytest.raises(UserError, match=r"^row 0\n  hint: mend it$"):
        list(map_ordered(fail, range(9), cores))


def test_a_worker_that_is_killed_is_no_riddle():
    with pytest.raises(UserError, match="a worker process was killed; most often"):
        list(map_ordered(lambda _: os.kill(os.getpid(), signal.SIGKILL), range(4), 2))


def test_no_worker_outlives_a_parent_that_was_killed(tmp_path):
    program = f"""
import os, pathlib, time
from blossomtune.data.tokenization.parallel import map_ordered
def work(number):
    (pathlib.Path({str(tmp_path)!r}) / str(os.getpid())).touch()
    time.sleep(60)
list(map_ordered(work, range(9), 3))
"""
    parent = subprocess.Popen([sys.executable, "-c", program], env={"PYTHONPATH": str(LIBRARY)})
    try:
        _until(lambda: len(list(tmp_path.iterdir())) == 3)
    finally:
        parent.kill()
        parent.wait()
    workers = [path.name for path in tmp_path.iterdir()]
    _until(lambda: not any(map(_alive, workers)))


def _alive(pid):
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)

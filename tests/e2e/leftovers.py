"""What runs may have left behind: processes, and folders that nobody will remove."""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "BLOSSOMTUNE_TEST"


def until(condition, seconds=300):
    """Waits until a condition holds; what it returned."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def processes(mark):
    """Processes but this one that were started with a mark in their environment."""
    return [process for process in psutil.process_iter() if _has(process, mark)]


def _has(process, mark):
    with suppress(psutil.Error):
        if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
            return process.environ().get(MARK) == mark
    return False


def guarded(processes):
    """The folders of runs whose guard is among these processes; any of them may have ended."""
    found = []
    for process in processes:
        with suppress(psutil.Error):
            match process.cmdline():
                case [_, script, folder, *_] if script.endswith("guard.py"):
                    found.append(Path(folder))
    return found


def folders():
    """Names of runs' folders that have no guard."""
    there = {folder.name for folder in Path(tempfile.gettempdir()).glob("bt-*")}
    return there - {folder.name for folder in guarded(psutil.process_iter())}

"""What runs may have left behind: processes, containers, networks, and folders."""

import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import docker
import psutil

from blossomtune.deployment.docker_engine import RUN_LABEL

MARK = "BLOSSOMTUNE_TEST"
RUN = re.compile(r"\bbt-[a-z0-9_]{8}\b")  # as tempfile names them


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
                case [_, script, folder, *_] if script.endswith("reaper.py"):
                    found.append(Path(folder))
    return found


def runs():
    """Runs that have no guard, and of which there still is something.

    A folder, a process that names it (also one in a container, which may not have our environment),
    a container of Docker's or its network.
    """
    found = {folder.name for folder in Path(tempfile.gettempdir()).glob("bt-*")}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found.update(RUN.findall(" ".join(process.cmdline())))
    if "docker" in os.environ.get("BLOSSOMTUNE_ENGINES", "").split(","):
        found.update(_in_docker())
    return found - {folder.name for folder in guarded(psutil.process_iter())}


def _in_docker():
    client = docker.from_env()
    chosen = {"label": RUN_LABEL}
    for container in client.containers.list(all=True, filters=chosen, ignore_removed=True):
        yield container.labels[RUN_LABEL]
    for network in client.networks.list(filters=chosen):
        yield network.attrs["Labels"][RUN_LABEL]
    client.close()

"""Find what runs have left behind: processes, containers, networks, and folders."""

import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import docker
import psutil

from blossomtune.deployment.docker_engine import RUN_LABEL

MARKER_VARIABLE = "BLOSSOMTUNE_TEST"
SCRATCH_NAME = re.compile(r"\bbt-[a-z0-9_]{8}\b")  # from tempfile.mkdtemp


def wait_until(condition, seconds=300):
    """Wait until a condition is true; return its result."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return result


def find_marked_processes(marker):
    """Return processes, except this one, that have a marker in their environment."""
    return [process for process in psutil.process_iter() if _has_marker(process, marker)]


def _has_marker(process, marker):
    with suppress(psutil.Error):
        if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
            return process.environ().get(MARKER_VARIABLE) == marker
    return False


def list_reaped_folders(candidates):
    """Return the scratch folders of the reapers among processes; any of them may have ended."""
    folders = []
    for process in candidates:
        with suppress(psutil.Error):
            match process.cmdline():
                case [_, "-P", script, folder] if script.endswith("reaper.py"):
                    folders.append(Path(folder))
    return folders


def list_abandoned_runs():
    """Return the names of runs without a reaper that have left something.

    This is a folder, a process with its name (in a container, it may not have our environment), a
    container of Docker, or its network.
    """
    names = {folder.name for folder in Path(tempfile.gettempdir()).glob("bt-*")}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            names.update(SCRATCH_NAME.findall(" ".join(process.cmdline())))
    if "docker" in os.environ.get("BLOSSOMTUNE_ENGINES", "").split(","):
        names.update(_list_docker_runs())
    return names - {folder.name for folder in list_reaped_folders(psutil.process_iter())}


def _list_docker_runs():
    client = docker.from_env()
    filters = {"label": RUN_LABEL}
    for container in client.containers.list(all=True, filters=filters, ignore_removed=True):
        yield container.labels[RUN_LABEL]
    for network in client.networks.list(filters=filters):
        yield network.attrs["Labels"][RUN_LABEL]
    client.close()

"""Find what a run may leave behind: processes, containers, networks and folders."""

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

import docker
import psutil

from blossomtune.deployment.docker_engine import RUN_LABEL

TEST_ID = "BLOSSOMTUNE_TEST"
"""Environment variable that marks the processes of a test module."""

RUN_NAME = re.compile(r"\bbt-[a-z0-9_]{8}\b")  # as tempfile names run folders


def find_marked_processes(test_id):
    """Return the processes, except this one, with a test id in their environment."""
    return [process for process in psutil.process_iter() if _is_marked(process, test_id)]


def _is_marked(process, test_id):
    with suppress(psutil.Error):
        if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
            return process.environ().get(TEST_ID) == test_id
    return False


def find_run_folders(processes):
    """Return the folders of runs whose reaper is among these processes."""
    folders = []
    for process in processes:
        with suppress(psutil.Error):
            match process.cmdline():
                case [*_, script, folder] if script.endswith("reaper.py"):
                    folders.append(Path(folder))
    return folders


def find_orphaned_runs():
    """Return the names of runs that have no reaper any more, but have left something behind.

    That is a folder, a process that names it, a Docker container, or a Docker network.
    """
    names = {folder.name for folder in Path(tempfile.gettempdir()).glob("bt-*")}
    for process in psutil.process_iter():  # containers need not have our environment
        with suppress(psutil.Error):
            names.update(RUN_NAME.findall(" ".join(process.cmdline())))
    if "docker" in os.environ.get("BLOSSOMTUNE_ENGINES", "").split(","):
        names.update(_find_docker_runs())
    return names - {folder.name for folder in find_run_folders(psutil.process_iter())}


def _find_docker_runs():
    client = docker.from_env()
    filters = {"label": RUN_LABEL}
    for container in client.containers.list(all=True, filters=filters, ignore_removed=True):
        yield container.labels[RUN_LABEL]
    for network in client.networks.list(filters=filters):
        yield network.attrs["Labels"][RUN_LABEL]
    client.close()

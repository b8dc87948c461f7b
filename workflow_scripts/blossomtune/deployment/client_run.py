"""Run a client of engine ``external``: prepare its rows, then keep its SuperNode running."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from blossomtune.deployment.backend import CODE_DIR, ProcessSpec
from blossomtune.deployment.client_bundle import SUPERNODE_ARGUMENTS_FILE
from blossomtune.deployment.reaper import start_reaper
from blossomtune.files import read_json

logger = logging.getLogger(__name__)

RESTART_DELAY_SECONDS = 5
"""Delay before a SuperNode that has ended is restarted."""


def run_client(
    folder: Path, data: Path, cores: int, *, fetches_model: bool = False, connects: bool = True
) -> None:
    """Prepare a client's rows and run its SuperNode until this process gets a signal.

    A SuperNode ends if its SuperLink does not know it, as after a restart of the SuperLink. It is
    restarted and registers again.

    Args:
        folder: Folder of the files that the client was sent.
        data: The client's rows: a file, a folder or an archive.
        cores: Number of processes that tokenize.
        fetches_model: Whether to fetch the base model from the source that the invitation names.
        connects: Whether to run the SuperNode; otherwise this ends after the preparation.

    Raises:
        SystemExit: If the preparation fails; it has printed the error.
    """
    arguments = ["--folder", str(folder), "--data", str(data), "--cores", str(cores)]
    arguments += ["--fetch-model"] if fetches_model else []
    # a process of its own: the memory of what it loads is free when the SuperNode runs
    command = [sys.executable, "-m", "blossomtune.deployment.client_setup", *arguments]
    environment = os.environ | {"PYTHONPATH": str(CODE_DIR)}
    status = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
    if status:
        sys.exit(status)
    if not connects:
        return
    supernode = read_json(folder / SUPERNODE_ARGUMENTS_FILE)
    with start_reaper() as scratch:
        home = Path(scratch) / "supernode"
        spec = ProcessSpec(supernode["name"], tuple(supernode["arguments"]), home)
        spec.home.mkdir()
        command = [sys.executable, *spec.python_arguments]
        environment = os.environ | spec.environment
        while True:
            status = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
            logger.warning("the SuperNode ended with %d; it is started again", status)
            time.sleep(RESTART_DELAY_SECONDS)

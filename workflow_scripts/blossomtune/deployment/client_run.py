"""A client of engine ``external``, from its invitation to a SuperNode that keeps running."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from blossomtune.deployment.backend import CODE_DIR, ProcessSpec
from blossomtune.deployment.reaper import start_reaper
from blossomtune.files import read_json

RESTART_DELAY_SECONDS = 5
"""Before a SuperNode that has ended is started again."""


def run_client(folder: Path, data: Path, cores: int) -> NoReturn:
    """Prepares a client's rows and runs its SuperNode, until it is told to stop.

    A SuperNode ends where its SuperLink does not know it any more, as after a restart; it is then
    started again, and registers anew.

    Args:
        folder: what the client was sent, and where it is.
        data: its rows: a file, a folder or an archive.
        cores: processes that tokenise.

    Raises:
        SystemExit: where it cannot be prepared; why has been said.
    """
    words = ["--folder", str(folder), "--data", str(data), "--cores", str(cores)]
    command = [sys.executable, "-m", "blossomtune.deployment.client_setup", *words]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(CODE_DIR)}, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(done.returncode)
    made = read_json(folder / "work/supernode.json")
    with start_reaper() as scratch:
        part = ProcessSpec(made["name"], tuple(made["arguments"]), Path(scratch) / "supernode")
        part.home.mkdir()
        while True:
            command, variables = (
                [sys.executable, *part.python_arguments],
                os.environ | part.environment,
            )
            status = subprocess.run(command, env=variables, check=False).returncode  # noqa: S603
            print(f"the SuperNode ended with {status}; it is started again", flush=True)
            time.sleep(RESTART_DELAY_SECONDS)

"""A client of engine ``external``, from its invitation to a SuperNode that keeps running."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from blossomtune.files import read_json
from blossomtune.launch.guard import guarded
from blossomtune.launch.parts import CODE, Part

PAUSE_SECONDS = 5
"""Before a SuperNode that has ended is started again."""


def join(folder: Path, data: Path, cores: int) -> NoReturn:
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
    command = [sys.executable, "-m", "blossomtune.launch.preparing", *words]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(CODE)}, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(done.returncode)
    made = read_json(folder / "work/supernode.json")
    with guarded() as scratch:
        part = Part(made["name"], tuple(made["words"]), Path(scratch) / "supernode")
        part.home.mkdir()
        while True:
            command, variables = [sys.executable, *part.program], os.environ | part.environment
            status = subprocess.run(command, env=variables, check=False).returncode  # noqa: S603
            print(f"the SuperNode ended with {status}; it is started again", flush=True)
            time.sleep(PAUSE_SECONDS)

"""A process that stops what another one started, even where that was killed and could not.

Ray's servers end with the process that started them, but two agents of theirs do not.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

CLEANUP_FILE = "will.json"
CODE_DIR = Path(__file__).resolve().parents[2]


def on_exit(scratch_dir: Path, command: list[str]) -> None:
    """Has the guard run a command in the end, for what is no process of ours.

    Args:
        scratch: the directory that ``guarded`` gave.
        command: program and arguments; it runs in the folder of our packages.
    """
    (scratch_dir / CLEANUP_FILE).write_text(json.dumps(command))


@contextmanager
def start_reaper(parent_dir: Path | None = None) -> Iterator[str]:
    """Yields a temporary directory; on every way out it and all child processes are gone.

    The guard reads from a pipe of which this process holds the only other end: it ends when this
    process does, whatever ended it.

    Args:
        parent: where the directory comes to lie; None for the system's place.
    """
    scratch = tempfile.mkdtemp(prefix="bt-", dir=parent_dir)  # short: Ray's sockets live below it
    command = [sys.executable, __file__, scratch]
    guard = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield scratch
    finally:
        guard.communicate()
        shutil.rmtree(scratch, ignore_errors=True)  # where the guard was killed


def main(scratch_dir: Path) -> None:
    """Notes the parent's descendants once a second; when the pipe closes, stops what is left.

    A cluster that cancels a job asks each of its processes to end; this one has its work to do.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent, me = psutil.Process(os.getppid()), psutil.Process()
    family: set[psutil.Process] = set()  # a process is its number and its time of birth
    while not select.select([sys.stdin], [], [], 1.0)[0]:
        try:
            family.update(parent.children(recursive=True))
        except psutil.NoSuchProcess:
            break
    for process in family - {me}:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family - {me}, timeout=10)
    with suppress(FileNotFoundError):
        subprocess.run(
            json.loads((scratch_dir / CLEANUP_FILE).read_text()), cwd=CODE_DIR, check=False
        )
    shutil.rmtree(scratch_dir, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

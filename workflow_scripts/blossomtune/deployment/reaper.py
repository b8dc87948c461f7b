"""Kill the processes that a run leaves behind, and remove its scratch folder.

Ray's servers end with the process that started them, but two of its agents do not.
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

CLEANUP_FILE = "cleanup.json"
RUN_VARIABLE = "BLOSSOMTUNE_RUN"
"""Environment variable with the scratch folder, in the processes that a backend starts."""

CODE_DIR = Path(__file__).resolve().parents[2]
POLL_SECONDS, KILL_TIMEOUT_SECONDS = 1.0, 10


def on_exit(scratch_dir: Path, command: list[str]) -> None:
    """Register a command that the reaper runs last, for what is not a child process.

    Args:
        scratch_dir: Folder that ``start_reaper`` yielded.
        command: Program and arguments; the working directory is that of our packages.
    """
    (scratch_dir / CLEANUP_FILE).write_text(json.dumps(command))


@contextmanager
def start_reaper(parent_dir: Path | None = None) -> Iterator[str]:
    """Start a reaper process; on exit all child processes and the scratch folder are removed.

    The reaper reads from a pipe whose other end only this process has open. So it cleans up even
    after this process was killed.

    Args:
        parent_dir: Folder for the scratch folder; None for the system's.

    Yields:
        The path of the scratch folder.
    """
    scratch = tempfile.mkdtemp(prefix="bt-", dir=parent_dir)  # short: Ray's sockets live below it
    # -P: modules of this package must not shadow packages such as docker
    command = [sys.executable, "-P", __file__, scratch]
    reaper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
    try:
        yield scratch
    finally:
        reaper.communicate()
        shutil.rmtree(scratch, ignore_errors=True)  # in case the reaper was killed


def main(scratch_dir: Path) -> None:
    """Record the parent's descendants; kill those that are left when stdin closes.

    SIGTERM is ignored, since a cluster that cancels a job sends it to each of its processes.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent, reaper = psutil.Process(os.getppid()), psutil.Process()
    descendants: set[psutil.Process] = set()  # psutil compares ids and creation times
    while not select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
        try:
            descendants.update(parent.children(recursive=True))
        except psutil.NoSuchProcess:
            break
    descendants.update(_find_marked_processes(scratch_dir))  # started since the last look
    descendants.discard(reaper)
    for process in descendants:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(descendants, timeout=KILL_TIMEOUT_SECONDS)
    with suppress(FileNotFoundError):
        command = json.loads((scratch_dir / CLEANUP_FILE).read_text())
        subprocess.run(command, cwd=CODE_DIR, check=False)  # noqa: S603
    shutil.rmtree(scratch_dir, ignore_errors=True)


def _find_marked_processes(scratch_dir: Path) -> Iterator[psutil.Process]:
    """Yield the processes whose environment names a scratch folder."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(RUN_VARIABLE) == str(scratch_dir):
                yield process


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Run SuperLink and SuperNodes as processes of this machine."""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Self

from blossomtune.deployment.backend import CODE_DIR, ProcessSpec
from blossomtune.deployment.subprocess_backend import STOP_TIMEOUT_SECONDS, SubprocessBackend
from blossomtune.process_lifetime import exit_with_parent

PRELOAD_MODULE = "blossomtune.deployment.preload"


class ProcessBackend(SubprocessBackend):
    """Backend that forks SuperNodes from one process that has loaded their libraries."""

    def __enter__(self) -> Self:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([PRELOAD_MODULE])
        with _python_path():
            forkserver.ensure_running()
        self._forks: dict[str, ForkServerProcess] = {}
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        for process in self._forks.values():
            process.terminate()  # all at once, since each takes its time
        for name in list(self._forks):
            self.stop(name)
        super().__exit__()

    def start(self, spec: ProcessSpec) -> None:
        """Start a process; a SuperNode with a GPU is not forked, as CUDA does not survive it."""
        if spec.client is None or spec.gpu_indices:
            super().start(spec)
            return
        log_file = self._log_dir / f"{spec.name}.log"
        process = self._context.Process(target=_run_supernode, args=(spec, log_file))
        process.start()
        self._forks[spec.name] = process

    def stop(self, name: str) -> None:
        """Stop a process: SIGTERM, then SIGKILL after ``STOP_TIMEOUT_SECONDS``."""
        process = self._forks.pop(name, None)
        if process is None:
            super().stop(name)
            return
        process.terminate()
        process.join(STOP_TIMEOUT_SECONDS)
        process.kill()
        process.join()

    def poll_exit_statuses(self) -> dict[str, int]:
        """Return the exit statuses of processes that have ended by themselves, by name."""
        forked = {n: s for n, p in self._forks.items() if (s := p.exitcode) is not None}
        return super().poll_exit_statuses() | forked


@contextmanager
def _python_path() -> Iterator[None]:
    """Set PYTHONPATH to our code: a forkserver does not inherit ``sys.path``."""
    previous = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(CODE_DIR)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if previous is not None:
            os.environ["PYTHONPATH"] = previous


def _run_supernode(spec: ProcessSpec, log_file: Path) -> None:
    """Run a SuperNode in this forked process."""
    is_preloaded = PRELOAD_MODULE in sys.modules  # a forkserver ignores failing imports
    from blossomtune.deployment.supernode import main

    with log_file.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if not is_preloaded:
        sys.exit(f"{PRELOAD_MODULE} was not loaded, so nothing is shared with others")
    os.environ.update(spec.environment)
    exit_with_parent()
    main(spec.python_arguments[2:])

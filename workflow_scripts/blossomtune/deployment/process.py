"""The process engine: all parts on this machine, side by side."""

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
    """The same, with SuperNodes forked from one process that has loaded their libraries."""

    def __enter__(self) -> Self:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([PRELOAD_MODULE])
        with _set_python_path():
            forkserver.ensure_running()
        self._forked_processes: dict[str, ForkServerProcess] = {}
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        for process in self._forked_processes.values():
            process.terminate()  # all at once: each takes its time
        for name in list(self._forked_processes):
            self.stop(name)
        super().__exit__()

    def start(self, spec: ProcessSpec) -> None:
        """Starts a part; one with a GPU by itself, since CUDA does not outlive a fork."""
        if spec.client is None or spec.gpu_index is not None:
            super().start(spec)
            return
        log = self._log_dir / f"{spec.name}.log"
        process = self._context.Process(target=_run_supernode, args=(spec, log))
        process.start()
        self._forked_processes[spec.name] = process

    def stop(self, name: str) -> None:
        """Asks a part to end, and ends it where it does not."""
        process = self._forked_processes.pop(name, None)
        if process is None:
            super().stop(name)
            return
        process.terminate()
        process.join(STOP_TIMEOUT_SECONDS)
        process.kill()
        process.join()

    def poll_exit_statuses(self) -> dict[str, int]:
        """The exit status of parts that have ended by themselves, by name."""
        forked = {n: s for n, p in self._forked_processes.items() if (s := p.exitcode) is not None}
        return super().poll_exit_statuses() | forked


@contextmanager
def _set_python_path() -> Iterator[None]:
    """Has Python programs that are started now find our code: a forkserver knows no sys.path."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(CODE_DIR)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _run_supernode(spec: ProcessSpec, log_file: Path) -> None:
    """Makes of a forked process a SuperNode."""
    loaded = (
        PRELOAD_MODULE in sys.modules
    )  # what cannot be loaded before is passed over without a word
    from blossomtune.deployment.supernode import main

    with log_file.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if not loaded:
        print(f"{PRELOAD_MODULE} was not loaded, so nothing is shared with others", flush=True)
        sys.exit(1)
    os.environ.update(spec.environment)
    exit_with_parent()
    main(spec.python_arguments[2:])

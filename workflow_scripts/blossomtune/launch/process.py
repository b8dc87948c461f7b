"""The process engine: all parts on this machine, side by side."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Self

from blossomtune.config.engines import AnyEngine
from blossomtune.gpus import only, visible
from blossomtune.launch.parts import CODE, Part, follow

GRACE_SECONDS = 5
LOADED = "blossomtune.launch.loaded"


class Processes:
    """Parts as processes, held by their handles; see ``Runner``.

    Args:
        logs: a folder for what they say.
        scratch: a folder of this run, which its guard removes.
        engine: its block of the configuration.
    """

    listens = host = "127.0.0.1"
    port, keys, machines = 0, None, 1

    def __init__(self, logs: Path, scratch: Path, engine: AnyEngine) -> None:
        self._logs, self._scratch, self._engine = logs, scratch, engine
        self._running: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)

    def start(self, part: Part) -> None:
        """Starts a part."""
        with (self._logs / f"{part.name}.log").open("ab") as log:
            self._running[part.name] = subprocess.Popen(  # noqa: S603
                self.command(part),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(part),
            )

    def command(self, part: Part) -> list[str]:
        """How to start a part."""
        return [sys.executable, *part.program]

    def environment(self, part: Part) -> dict[str, str]:
        """The environment to start it in."""
        return os.environ | part.environment | self.gpu(part)

    def gpu(self, part: Part) -> dict[str, str]:
        """Variables that leave a part of this machine's GPUs the one that it trains on."""
        return {} if part.gpu is None else only(visible()[part.gpu])

    def stop(self, name: str) -> None:
        """Asks a part to end, and ends it where it does not."""
        process = self._running.pop(name)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        process.kill()
        process.wait()

    def ended(self) -> dict[str, int]:
        """The exit status of parts that have ended by themselves, by name."""
        return {n: s for n, p in self._running.items() if (s := p.poll()) is not None}


class Forks(Processes):
    """The same, with SuperNodes forked from one process that has loaded their libraries."""

    def __enter__(self) -> Self:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([LOADED])
        with _importable():
            forkserver.ensure_running()
        self._forked: dict[str, ForkServerProcess] = {}
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        for process in self._forked.values():
            process.terminate()  # all at once: each takes its time
        for name in list(self._forked):
            self.stop(name)
        super().__exit__()

    def start(self, part: Part) -> None:
        """Starts a part; one with a GPU by itself, since CUDA does not outlive a fork."""
        if part.client is None or part.gpu is not None:
            super().start(part)
            return
        log = self._logs / f"{part.name}.log"
        process = self._context.Process(target=_become, args=(part, log))
        process.start()
        self._forked[part.name] = process

    def stop(self, name: str) -> None:
        """Asks a part to end, and ends it where it does not."""
        process = self._forked.pop(name, None)
        if process is None:
            super().stop(name)
            return
        process.terminate()
        process.join(GRACE_SECONDS)
        process.kill()
        process.join()

    def ended(self) -> dict[str, int]:
        """The exit status of parts that have ended by themselves, by name."""
        forked = {n: s for n, p in self._forked.items() if (s := p.exitcode) is not None}
        return super().ended() | forked


@contextmanager
def _importable() -> Iterator[None]:
    """Has Python programs that are started now find our code: a forkserver knows no sys.path."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(CODE)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _become(part: Part, path: Path) -> None:
    """Makes of a forked process a SuperNode."""
    loaded = LOADED in sys.modules  # what cannot be loaded before is passed over without a word
    from blossomtune.launch.supernode import main

    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if not loaded:
        print(f"{LOADED} was not loaded, so nothing is shared with others", flush=True)
        sys.exit(1)
    os.environ.update(part.environment)
    follow()
    main(part.program[2:])

"""The process engine: all parts on this machine, side by side."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from blossomtune.config.engines import AnyEngine
from blossomtune.launch.nursery import Forked, Nursery
from blossomtune.launch.parts import Part

GRACE_SECONDS = 5


class Processes:
    """Parts as processes, held by their handles; see ``Runner``.

    Args:
        logs: a folder for what they say.
        scratch: a folder of this run, which its guard removes.
        engine: its block of the configuration.
    """

    listens = host = "127.0.0.1"
    port, keys = 0, None

    def __init__(self, logs: Path, scratch: Path, engine: AnyEngine) -> None:
        self._logs, self._scratch, self._engine = logs, scratch, engine
        self._running: dict[str, subprocess.Popen | Forked] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)

    def start(self, part: Part) -> None:
        """Starts a part."""
        with self.log(part.name).open("ab") as log:
            self._running[part.name] = subprocess.Popen(  # noqa: S603
                self.command(part),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(part),
            )

    def log(self, name: str) -> Path:
        """Where a part's words go."""
        return self._logs / f"{name}.log"

    def command(self, part: Part) -> list[str]:
        """How to start a part."""
        return [sys.executable, *part.program]

    def environment(self, part: Part) -> dict[str, str]:
        """The environment to start it in."""
        return os.environ | part.environment

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
        home = Part("nursery", (), self._scratch / "nursery")
        home.home.mkdir()
        self._nursery = Nursery(self.environment(home), self.log(home.name))
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        self._nursery.close()
        super().__exit__()

    def start(self, part: Part) -> None:
        """Starts a part; one with a GPU by itself, since CUDA does not outlive a fork."""
        if part.client is None or part.gpus:
            super().start(part)
        else:
            self._running[part.name] = self._nursery.start(part, self.log(part.name))

"""The process engine: all parts on this machine, side by side."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from blossomtune.config.engines import AnyEngine
from blossomtune.gpus import only, visible
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
    machines = 1

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

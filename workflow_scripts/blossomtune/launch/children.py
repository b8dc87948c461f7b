"""Processes that this one starts: each writes a log, and all are stopped on every way out."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from blossomtune.errors import UserError

GRACE_SECONDS = 5


class Children:
    """Named processes, held by their handles.

    Args:
        logs: a folder for what they say, a file a name.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Children":
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Starts a process; what it says goes to ``<name>.log``, after what is there."""
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
            )

    def stop(self, name: str) -> None:
        """Asks a process to end, and ends it where it does not."""
        process = self._running.pop(name)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        process.kill()
        process.wait()

    def ended(self) -> dict[str, int]:
        """The exit status of those that have ended by themselves, by name."""
        return {n: s for n, p in self._running.items() if (s := p.poll()) is not None}

    def fault(self, name: str, status: int) -> UserError:
        """What to say of a process that ended."""
        path = self._logs / f"{name}.log"
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
        said = lines[-1] if lines else "nothing"
        return UserError(f"{name} ended with {status}; the last it said: {said}", f"see {path}")

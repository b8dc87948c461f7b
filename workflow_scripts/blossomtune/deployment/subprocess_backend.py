"""TODO docstring."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from blossomtune.config.engines import AnyEngine
from blossomtune.deployment.backend import ProcessSpec
from blossomtune.gpus import build_gpu_environment, list_visible_gpus

STOP_TIMEOUT_SECONDS = 5


class SubprocessBackend:
    """Parts as processes, held by their handles; see ``Runner``.

    Args:
        logs: a folder for what they say.
        scratch: a folder of this run, which its guard removes.
        engine: its block of the configuration.
    """

    listen_address = host = "127.0.0.1"
    port, key_dir, num_machines = 0, None, 1

    def __init__(self, log_dir: Path, scratch_dir: Path, engine: AnyEngine) -> None:
        self._log_dir, self._scratch_dir, self._engine = log_dir, scratch_dir, engine
        self._processes: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._processes)):
            self.stop(name)

    def start(self, spec: ProcessSpec) -> None:
        """Starts a part."""
        with (self._log_dir / f"{spec.name}.log").open("ab") as log:
            self._processes[spec.name] = subprocess.Popen(  # noqa: S603
                self.build_command(spec),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.build_environment(spec),
            )

    def build_command(self, spec: ProcessSpec) -> list[str]:
        """How to start a part."""
        return [sys.executable, *spec.python_arguments]

    def build_environment(self, spec: ProcessSpec) -> dict[str, str]:
        """The environment to start it in."""
        return os.environ | spec.environment | self.gpu_environment(spec)

    def gpu_environment(self, spec: ProcessSpec) -> dict[str, str]:
        """Variables that leave a part of this machine's GPUs the one that it trains on."""
        return (
            {}
            if spec.gpu_index is None
            else build_gpu_environment(list_visible_gpus()[spec.gpu_index])
        )

    def stop(self, name: str) -> None:
        """Asks a part to end, and ends it where it does not."""
        process = self._processes.pop(name)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_SECONDS)
        process.kill()
        process.wait()

    def poll_exit_statuses(self) -> dict[str, int]:
        """The exit status of parts that have ended by themselves, by name."""
        return {n: s for n, p in self._processes.items() if (s := p.poll()) is not None}

"""Run the processes of a federation as child processes."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from blossomtune.config.engines import AnyEngine
from blossomtune.deployment.backend import ProcessSpec
from blossomtune.deployment.reaper import RUN_VARIABLE
from blossomtune.gpus import build_gpu_environment, list_visible_gpus

STOP_TIMEOUT_SECONDS = 5


class SubprocessBackend:
    """Backend that runs each process as a child process; see ``Backend``.

    Args:
        log_dir: Folder for the processes' output.
        scratch_dir: Folder of this run, which its reaper removes.
        engine: Configuration of the engine.
    """

    listen_address: str = "127.0.0.1"
    host: str = "127.0.0.1"
    port: int = 0
    key_dir: Path | None = None
    num_machines: int = 1

    def __init__(self, log_dir: Path, scratch_dir: Path, engine: AnyEngine) -> None:
        self._log_dir = log_dir
        self._run_environment = {RUN_VARIABLE: str(scratch_dir)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._processes)):
            self.stop(name)

    def start(self, spec: ProcessSpec) -> None:
        """Start a process."""
        with (self._log_dir / f"{spec.name}.log").open("ab") as log:
            self._processes[spec.name] = subprocess.Popen(  # noqa: S603
                self.build_command(spec),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.build_environment(spec) | self._run_environment,
            )

    def build_command(self, spec: ProcessSpec) -> list[str]:
        """Return the command that starts a process."""
        return [sys.executable, *spec.python_arguments]

    def build_environment(self, spec: ProcessSpec) -> dict[str, str]:
        """Return the environment of that command."""
        return os.environ | spec.environment | self.gpu_environment(spec)

    def gpu_environment(self, spec: ProcessSpec) -> dict[str, str]:
        """Return variables that hide all GPUs but the process's own."""
        if not spec.gpu_indices:
            return {}
        gpus = list_visible_gpus()
        return build_gpu_environment(",".join(gpus[i] for i in spec.gpu_indices))

    def stop(self, name: str) -> None:
        """Stop a process: SIGTERM, then SIGKILL after ``STOP_TIMEOUT_SECONDS``."""
        process = self._processes.pop(name)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_SECONDS)
        process.kill()
        process.wait()

    def poll_exit_statuses(self) -> dict[str, int]:
        """Return the exit statuses of processes that have ended by themselves, by name."""
        return {n: s for n, p in self._processes.items() if (s := p.poll()) is not None}

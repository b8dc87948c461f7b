"""Describe the processes of a federation and the interface of the backends that run them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

SUPERLINK = "superlink"

CODE_DIR = Path(__file__).resolve().parents[2]
"""Folder that holds the package ``blossomtune``."""


@dataclass(frozen=True)
class ProcessSpec:
    """One SuperLink or SuperNode process and the files that it may access.

    Attributes:
        name: ``superlink`` or ``supernode_<client>``.
        arguments: Arguments of its program.
        home: Its own writable folder.
        readable_paths: Other files and folders that it reads.
        secret_paths: Other files that it reads and that no other user may read.
        writable_paths: Other folders that it writes to.
        gpu_indices: Indices of the GPUs of its machine that it trains on; none for the CPU.
    """

    name: str
    arguments: tuple[str, ...]
    home: Path
    readable_paths: tuple[Path, ...] = ()
    secret_paths: tuple[Path, ...] = ()
    writable_paths: tuple[Path, ...] = ()
    gpu_indices: tuple[int, ...] = ()

    @property
    def client(self) -> int | None:
        """Number of the SuperNode's client; None for the SuperLink."""
        return None if self.name == SUPERLINK else int(self.name.rpartition("_")[2])

    @property
    def program(self) -> str:
        """Name of the module in this package that it runs."""
        return self.name.partition("_")[0]

    @property
    def python_arguments(self) -> list[str]:
        """Arguments of the Python interpreter."""
        module = f"blossomtune.deployment.{self.program}"
        return ["-m", module, "--work-dir", str(self.home), *self.arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that it needs."""
        return {
            "FLWR_HOME": str(self.home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "HOME": str(self.home),
            "PYTHONPATH": str(CODE_DIR),
            "PYTHONUNBUFFERED": "1",
        }


class Backend(Protocol):
    """Context manager that starts processes and stops all of them on exit.

    Attributes:
        listen_address: Address that the SuperLink listens on.
        host: Name or address under which SuperNodes reach the SuperLink.
        port: Port that the SuperLink listens on; 0 for a free one.
        key_dir: Folder of keys that outlive a run; None to create keys per run.
        num_machines: Number of machines that run SuperNodes; client i is on machine
            i modulo ``num_machines``.
    """

    listen_address: str
    host: str
    port: int
    key_dir: Path | None
    num_machines: int

    def __enter__(self) -> Self:
        """Check the requirements of the backend."""

    def __exit__(self, *_: object) -> None:
        """Stop all processes."""

    def start(self, spec: ProcessSpec) -> None:
        """Start a process; append its output to ``<name>.log`` in the log folder."""

    def stop(self, name: str) -> None:
        """Stop a process in any state."""

    def poll_exit_statuses(self) -> Mapping[str, int]:
        """Return the exit statuses of processes that have ended by themselves, by name."""

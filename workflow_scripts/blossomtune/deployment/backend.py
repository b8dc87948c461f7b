"""What a federation is made of, whatever runs it: a SuperLink and a SuperNode a client."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

SUPERLINK = "superlink"


CODE_DIR = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ProcessSpec:
    """One process, with all that it may see of this machine.

    Attributes:
        name: ``superlink``, or ``supernode_<i>``.
        arguments: arguments of its program.
        home: its own folder, to write to.
        reads: files and folders that it reads, besides.
        secrets: files that it reads and that nobody else may.
        writes: folders that it writes to, besides.
        gpu: which of its host's GPUs it trains on, 0 or more; None for the CPU.
    """

    name: str
    arguments: tuple[str, ...]
    home: Path
    readable_paths: tuple[Path, ...] = ()
    secret_paths: tuple[Path, ...] = ()
    writable_paths: tuple[Path, ...] = ()
    gpu_index: int | None = None

    @property
    def client(self) -> int | None:
        """The client that it is of; None for the SuperLink."""
        return None if self.name == SUPERLINK else int(self.name.rpartition("_")[2])

    @property
    def python_arguments(self) -> list[str]:
        """What Python is to run."""
        module = f"blossomtune.deployment.{self.name.partition('_')[0]}"
        return ["-m", module, "--work-dir", str(self.home), *self.arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Variables that it needs."""
        return {
            "FLWR_HOME": str(self.home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "HOME": str(self.home),
            "PYTHONPATH": str(CODE_DIR),
            "PYTHONUNBUFFERED": "1",
        }


class Backend(Protocol):
    """An engine: it starts parts, and stops on every way out all that it has started.

    Attributes:
        listens: the address that the SuperLink listens on.
        host: the name or address under which SuperNodes reach it.
        port: that the SuperLink listens on; 0 for one that is free.
        keys: a folder of keys that outlive a run; None to have some made for each run.
        machines: on how many of them SuperNodes run: client i on the one of number i modulo that.
    """

    listen_address: str
    host: str
    port: int
    key_dir: Path | None
    num_machines: int

    def __enter__(self) -> Self:
        """Gets ready."""

    def __exit__(self, *_: object) -> None:
        """Stops everything."""

    def start(self, spec: ProcessSpec) -> None:
        """Starts a part; what it says is added to ``<name>.log`` in the folder of logs."""

    def stop(self, name: str) -> None:
        """Stops a part, whatever state it is in."""

    def poll_exit_statuses(self) -> Mapping[str, int]:
        """The exit status of parts that have ended by themselves, by name."""

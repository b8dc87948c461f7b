"""What a federation is made of, whatever runs it: a SuperLink and a SuperNode a client."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

SUPERLINK = "superlink"
CODE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Part:
    """One process, with all that it may see of this machine.

    Attributes:
        name: ``superlink``, or ``supernode_<i>``.
        words: arguments of its program.
        home: its own folder, to write to.
        reads: files and folders that it reads, besides.
        secrets: files that it reads and that nobody else may.
        writes: folders that it writes to, besides.
        gpu: which of its host's GPUs it trains on, 0 or more; None for the CPU.
    """

    name: str
    words: tuple[str, ...]
    home: Path
    reads: tuple[Path, ...] = ()
    secrets: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    gpu: int | None = None

    @property
    def client(self) -> int | None:
        """The client that it is of; None for the SuperLink."""
        return None if self.name == SUPERLINK else int(self.name.rpartition("_")[2])

    @property
    def program(self) -> list[str]:
        """What Python is to run."""
        module = f"blossomtune.launch.{self.name.partition('_')[0]}"
        return ["-m", module, "--folder", str(self.home), *self.words]

    @property
    def environment(self) -> dict[str, str]:
        """Variables that it needs."""
        return {
            "FLWR_HOME": str(self.home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "HOME": str(self.home),
            "PYTHONPATH": str(CODE),
            "PYTHONUNBUFFERED": "1",
        }


class Runner(Protocol):
    """An engine: it starts parts, and stops on every way out all that it has started.

    Attributes:
        listens: the address that the SuperLink listens on.
        host: the name or address under which SuperNodes reach it.
        port: that the SuperLink listens on; 0 for one that is free.
        keys: a folder of keys that outlive a run; None to have some made for each run.
        machines: on how many of them SuperNodes run: client i on the one of number i modulo that.
    """

    listens: str
    host: str
    port: int
    keys: Path | None
    machines: int

    def __enter__(self) -> Self:
        """Gets ready."""

    def __exit__(self, *_: object) -> None:
        """Stops everything."""

    def start(self, part: Part) -> None:
        """Starts a part; what it says is added to ``<name>.log`` in the folder of logs."""

    def stop(self, name: str) -> None:
        """Stops a part, whatever state it is in."""

    def ended(self) -> Mapping[str, int]:
        """The exit status of parts that have ended by themselves, by name."""


def called(name: str) -> None:
    """Shows this process under a name of up to 15 bytes, where the system has a place for it."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def follow() -> None:
    """Ends this process when the one that it was forked from ends, whatever ended that."""

    def wait_and_end() -> None:
        multiprocessing.parent_process().join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_and_end, daemon=True).start()

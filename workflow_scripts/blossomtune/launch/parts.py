"""What a federation is made of, whatever runs it: a SuperLink and a SuperNode a client."""

from collections.abc import Mapping
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
        machines: on how many of them SuperNodes run: client i on the one of number i modulo that.
    """

    listens: str
    host: str
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

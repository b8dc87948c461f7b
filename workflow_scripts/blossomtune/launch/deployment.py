"""A federation on a SuperLink and SuperNodes, whatever these run in."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from blossomtune.federation.job import Job
from blossomtune.files import write_json
from blossomtune.launch.guard import guarded
from blossomtune.launch.keys import Keys

CODE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Places:
    """Folders and files of a run.

    Attributes:
        scratch: a folder that is gone afterwards.
        logs: where what processes say stays.
        job: the job as SuperNodes read it.
        code: the folder that our packages lie in.
    """

    scratch: Path
    logs: Path
    job: Path
    code: Path = CODE


class Engine(Protocol):
    """What a SuperLink and SuperNodes run in.

    Attributes:
        hosts: names and addresses under which SuperNodes reach the SuperLink.
    """

    hosts: tuple[str, ...]

    def running(self, keys: Keys) -> AbstractContextManager[Path]:
        """Starts SuperLink and SuperNodes; on every way out everything is stopped.

        Returns:
            The SuperLink's socket.
        """

    def watch(self) -> dict[int, str | None]:
        """Starts SuperNodes again that have ended.

        Returns:
            By client, what has become of its SuperNode since the last time: None if it was started
            again, else why it is gone for good.

        Raises:
            UserError: where the SuperLink has ended.
        """


def deploy(job: Job, logs: Path) -> None:
    """Runs a federation on the engine that its job names.

    The ServerApp is in this process. Keys are made for this run alone.

    Args:
        job: the federation.
        logs: a folder for what SuperLink and SuperNodes say.

    Raises:
        UserError: what stopped the federation.
    """
    from blossomtune.federation.server_app import serve
    from blossomtune.launch.link import lead
    from blossomtune.launch.process import Process

    with guarded() as folder:
        scratch = Path(folder)
        places = Places(scratch, logs, scratch / "job.json")
        write_json(places.job, job.for_clients().model_dump(mode="json"))
        engine: Engine = Process(places, len(job.clients), tls=job.federation.tls)
        keys = Keys(scratch / "keys")
        keys.make(engine.hosts, len(job.clients))
        nodes = [keys.public(i) for i in range(len(job.clients))] if job.federation.tls else []
        with engine.running(keys) as socket, lead(socket, nodes, engine.watch) as (grid, owners):
            serve(grid, job, owners)

"""A federation on a SuperLink and SuperNodes, whatever runs them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from blossomtune.errors import UserError
from blossomtune.federation.checkpoints import Checkpoints
from blossomtune.federation.job import Job, identity
from blossomtune.files import read_json, write_json
from blossomtune.gpus import visible
from blossomtune.launch.gpus import seats
from blossomtune.launch.guard import guarded
from blossomtune.launch.keys import Keys
from blossomtune.launch.parts import SUPERLINK, Part, Runner

START_SECONDS = 60
RESTARTS = 3
"""How often a SuperNode is started again before the run goes on without it."""

RUNNERS = {
    "process": "Forks",
    "docker": "Containers",
    "apptainer": "Instances",
    "slurm": "Steps",
    "external": "Outside",
}
"""The class of an engine, in the module of that name. They are imported when they are needed, and
not in a way that Snakemake follows: where SuperNodes run changes no adapter."""


class Deployment:
    """SuperLink and SuperNodes of one run.

    Args:
        job: the federation.
        runner: what runs its parts.
        scratch: a folder that is gone afterwards.
        logs: a folder for what the parts say.
    """

    def __init__(self, job: Job, runner: Runner, scratch: Path, logs: Path) -> None:
        self._job, self._runner, self._scratch, self._logs = job, runner, scratch, logs
        run = Checkpoints(job.checkpoints, identity(job, job.device))
        self._memories = run.folder / "clients"
        self._restarts = dict.fromkeys(range(len(job.clients)), RESTARTS)
        self._parts: dict[str, Part] = {}
        self.keys = Keys(runner.keys or scratch / "keys") if job.federation.tls else None
        kept = [client.name for client in job.clients] if runner.keys else None
        self._called = kept or range(len(job.clients))  # as keys are, by client

    @property
    def public_keys(self) -> list[Path]:
        """Of the SuperNodes, in the clients' order; none where they do not have any."""
        if self.keys is None:
            return []
        return [self.keys.public(name) for name in self._called]

    @contextmanager
    def running(self) -> Iterator[Path]:
        """Starts the SuperLink, and stops all on every way out; yields the SuperLink's socket.

        Keys are made for this run alone, unless the engine keeps some; what is about to expire
        of those is renewed.

        Raises:
            UserError: where the SuperLink does not come up, or clients do not fit on the GPUs.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        for old in self._logs.glob("*.log"):
            old.unlink()
        write_json(self._job_file, self._job.for_clients().model_dump(mode="json"))
        with self._runner:
            self._gpus = self._seats()
            if self.keys:
                self.keys.make([self._runner.host], self._called)
            link = self._superlink()
            self._start(link)
            self._address = f"{self._runner.host}:{self._port(link.home / 'superlink.json')}"
            yield link.home / "superlink.sock"

    def join(self) -> None:
        """Starts the SuperNodes, once the SuperLink knows them: it turns away all others."""
        for client, gpu in enumerate(self._gpus):
            self._start(self._supernode(client, gpu))

    def watch(self) -> dict[int, str]:
        """Starts SuperNodes again that have ended.

        Returns:
            By client, why its SuperNode is gone for good, where that has happened since the last
            time.

        Raises:
            UserError: where the SuperLink has ended.
        """
        found: dict[int, str] = {}
        for name, status in self._runner.ended().items():
            fault = self._fault(name, status)
            client = self._parts[name].client
            if client is None:
                raise fault
            self._runner.stop(name)
            back = self.keys is not None and self._restarts[client] > 0
            print(f"{fault}\n  {'it is started again' if back else 'it is gone'}", flush=True)
            if not back:
                found[client] = str(fault)
                continue
            self._restarts[client] -= 1
            self._runner.start(self._parts[name])
        return found

    def settle(self) -> None:
        """Watches for a few seconds."""
        for _ in range(30):
            self.watch()
            time.sleep(0.1)

    @property
    def _job_file(self) -> Path:
        return self._scratch / "job.json"

    def _seats(self) -> list[int | None]:
        """By client, which of its machine's GPUs it trains on; all machines have as many."""
        clients, share = len(self._job.clients), self._job.federation.gpus_per_client
        if not share:
            return [None] * clients
        return seats(clients, share, len(visible()), self._runner.machines)

    def _superlink(self) -> Part:
        words, secrets = ["--host", self._runner.listens, "--port", str(self._runner.port)], ()
        if self.keys:
            words += ["--keys", str(self.keys.folder)]
            secrets = (self.keys.authority, self.keys.certificate, self.keys.key)
        return Part(SUPERLINK, tuple(words), self._scratch / SUPERLINK, secrets=secrets)

    def _supernode(self, client: int, gpu: int | None) -> Part:
        job = self._job
        words = ["--superlink", self._address, "--client", str(client)]
        words += ["--job", str(self._job_file)]
        rows = tuple(job.preprocessed.glob(f"client_{client}.*arrow"))
        reads, secrets = (job.model, *rows), (self._job_file,)
        if self.keys:
            words += ["--authority", str(self.keys.authority)]
            key = self.keys.node(self._called[client])
            words += ["--key", str(key)]
            secrets += (self.keys.authority, key)
        name = f"supernode_{client}"
        return Part(
            name,
            tuple(words),
            self._scratch / name,
            reads,
            secrets,
            writes=(self._memories / str(client),) if job.keeps else (),
            gpu=gpu,
        )

    def _start(self, part: Part) -> None:
        part.home.mkdir(mode=0o700)
        self._parts[part.name] = part
        self._runner.start(part)

    def _port(self, ready: Path) -> int:
        end = time.monotonic() + START_SECONDS
        while not ready.exists():
            self.watch()
            if time.monotonic() > end:
                raise UserError(
                    f"the SuperLink was not ready after {START_SECONDS} s",
                    f"see {self._logs / SUPERLINK}.log",
                )
            time.sleep(0.05)
        return int(read_json(ready)["port"])

    def _fault(self, name: str, status: int) -> UserError:
        path = self._logs / f"{name}.log"
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
        said = lines[-1] if lines else "nothing"
        return UserError(f"{name} ended with {status}; the last it said: {said}", f"see {path}")


def deploy(job: Job, logs: Path) -> None:
    """Runs a federation on the engine that its job names; the ServerApp is in this process.

    Args:
        job: the federation.
        logs: a folder for what SuperLink and SuperNodes say.

    Raises:
        UserError: what stopped the federation.
    """
    import httpx

    from blossomtune.federation.server_app import serve
    from blossomtune.launch.link import lead

    # The nodes of a cluster share the working directory, and nothing else that we know of.
    shared = job.checkpoints.parent if job.federation.engine.name == "slurm" else None
    with guarded(shared) as folder:
        scratch = Path(folder)
        deployment = Deployment(job, _runner(job, logs, scratch), scratch, logs)
        with deployment.running() as socket:
            try:
                with lead(socket, deployment.public_keys, deployment.watch) as (grid, owners):
                    deployment.join()
                    serve(grid, job, owners)
            except httpx.TransportError:
                deployment.settle()  # the SuperLink may have ended just now
                raise


def _runner(job: Job, logs: Path, scratch: Path) -> Runner:
    engine = job.federation.engine
    module = import_module(f"blossomtune.launch.{engine.name}")
    return getattr(module, RUNNERS[engine.name])(logs, scratch, engine)

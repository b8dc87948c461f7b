"""A federation on a SuperLink and SuperNodes, whatever runs them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.deployment.backend import SUPERLINK, Backend, ProcessSpec
from blossomtune.deployment.gpu_allocation import assign_gpus
from blossomtune.deployment.keys import KeyStore, load_public_key
from blossomtune.deployment.reaper import start_reaper
from blossomtune.errors import UserError
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.run_identity import build_run_identity
from blossomtune.files import read_json
from blossomtune.gpus import list_visible_gpus
from blossomtune.training.checkpoints import CheckpointStore

START_TIMEOUT_SECONDS = 60
MAX_RESTARTS = 3
"""How often a SuperNode is started again before the run goes on without it."""

BACKENDS = {
    "process": "ProcessBackend",
    "docker": "DockerBackend",
    "apptainer": "ApptainerBackend",
    "slurm": "SlurmBackend",
    "external": "ExternalBackend",
}
"""The class of an engine, in the module of that name. They are imported when they are needed, and
not in a way that Snakemake follows: where SuperNodes run changes no adapter."""


class Deployment:
    """SuperLink and SuperNodes of one run.

    Args:
        run: the federation.
        runner: what runs its parts.
        scratch: a folder that is gone afterwards.
        logs: a folder for what the parts say.
    """

    def __init__(
        self, run: FederatedRun, backend: Backend, scratch_dir: Path, log_dir: Path
    ) -> None:
        self._run, self._backend = run, backend
        self._scratch_dir, self._log_dir = scratch_dir, log_dir
        spec, paths = run.spec, run.paths
        identity = build_run_identity(spec, paths, run.resources.device)
        checkpoints = CheckpointStore(paths.checkpoints, identity, RoundRecord)
        self._client_state_dir = checkpoints.folder / "clients"
        self._restarts_left = dict.fromkeys(range(len(spec.clients)), MAX_RESTARTS)
        self._specs: dict[str, ProcessSpec] = {}
        self.keys = (
            KeyStore(backend.key_dir or scratch_dir / "keys") if spec.federation.tls else None
        )
        kept = [client.name for client in spec.clients] if backend.key_dir else None
        self._key_names = kept or range(len(spec.clients))  # as keys are, by client

    @property
    def public_keys(self) -> list[EllipticCurvePublicKey]:
        """Public keys of the SuperNodes, by client; empty without authentication."""
        if self.keys is None:
            return []
        return [load_public_key(self.keys.supernode_public_key(name)) for name in self._key_names]

    @contextmanager
    def start_superlink(self) -> Iterator[Path]:
        """Starts the SuperLink, and stops all on every way out; yields the SuperLink's socket.

        Keys are made for this run alone, unless the engine keeps some; what is about to expire
        of those is renewed.

        Raises:
            UserError: where the SuperLink does not come up, or clients do not fit on the GPUs.
        """
        self._log_dir.mkdir(parents=True, exist_ok=True)
        for old in self._log_dir.glob("*.log"):
            old.unlink()
        self._run.redact_for_clients().save(self._run_file)
        with self._backend:
            self._gpu_indices = self._assign_gpus()
            if self.keys:
                self.keys.create_missing([self._backend.host], self._key_names)
            link = self._superlink_spec()
            self._start_process(link)
            self._superlink_address = (
                f"{self._backend.host}:{self._wait_for_port(link.home / 'superlink.json')}"
            )
            yield link.home / "superlink.sock"

    def start_supernodes(self) -> None:
        """Starts the SuperNodes, once the SuperLink knows them: it turns away all others."""
        for client, gpu in enumerate(self._gpu_indices):
            self._start_process(self._supernode_spec(client, gpu))

    def restart_supernodes(self) -> dict[int, str]:
        """Starts SuperNodes again that have ended.

        Returns:
            By client, why its SuperNode is gone for good, where that has happened since the last
            time.

        Raises:
            UserError: where the SuperLink has ended.
        """
        found: dict[int, str] = {}
        for name, status in self._backend.poll_exit_statuses().items():
            fault = self._exit_error(name, status)
            client = self._specs[name].client
            if client is None:
                raise fault
            self._backend.stop(name)
            back = self.keys is not None and self._restarts_left[client] > 0
            print(f"{fault}\n  {'it is started again' if back else 'it is gone'}", flush=True)
            if not back:
                found[client] = str(fault)
                continue
            self._restarts_left[client] -= 1
            self._backend.start(self._specs[name])
        return found

    def wait_for_failures(self) -> None:
        """Watches for a few seconds."""
        for _ in range(30):
            self.restart_supernodes()
            time.sleep(0.1)

    @property
    def _run_file(self) -> Path:
        return self._scratch_dir / "run.json"

    def _assign_gpus(self) -> list[int | None]:
        """By client, which of its machine's GPUs it trains on; all machines have as many."""
        clients, share = len(self._run.spec.clients), self._run.resources.gpus_per_client
        if not share:
            return [None] * clients
        return assign_gpus(clients, share, len(list_visible_gpus()), self._backend.num_machines)

    def _superlink_spec(self) -> ProcessSpec:
        words, secrets = (
            ["--host", self._backend.listen_address, "--port", str(self._backend.port)],
            (),
        )
        if self.keys:
            words += ["--key-dir", str(self.keys.folder)]
            secrets = (
                self.keys.ca_certificate,
                self.keys.superlink_certificate,
                self.keys.superlink_key,
            )
        return ProcessSpec(
            SUPERLINK, tuple(words), self._scratch_dir / SUPERLINK, secret_paths=secrets
        )

    def _supernode_spec(self, client: int, gpu_index: int | None) -> ProcessSpec:
        paths = self._run.paths
        words = ["--superlink", self._superlink_address, "--client", str(client)]
        words += ["--run", str(self._run_file)]
        rows = tuple(paths.preprocessed.glob(f"client_{client}.*arrow"))
        reads, secrets = (paths.model, *rows), (self._run_file,)
        if self.keys:
            words += ["--ca-certificate", str(self.keys.ca_certificate)]
            key = self.keys.supernode_key(self._key_names[client])
            words += ["--private-key", str(key)]
            secrets += (self.keys.ca_certificate, key)
        name = f"supernode_{client}"
        state = (self._client_state_dir / str(client),)
        writable = state if self._run.spec.has_client_state else ()
        return ProcessSpec(
            name,
            tuple(words),
            self._scratch_dir / name,
            reads,
            secrets,
            writable_paths=writable,
            gpu_index=gpu_index,
        )

    def _start_process(self, spec: ProcessSpec) -> None:
        spec.home.mkdir(mode=0o700)
        self._specs[spec.name] = spec
        self._backend.start(spec)

    def _wait_for_port(self, ready_file: Path) -> int:
        end = time.monotonic() + START_TIMEOUT_SECONDS
        while not ready_file.exists():
            self.restart_supernodes()
            if time.monotonic() > end:
                raise UserError(
                    f"the SuperLink was not ready after {START_TIMEOUT_SECONDS} s",
                    f"see {self._log_dir / SUPERLINK}.log",
                )
            time.sleep(0.05)
        return int(read_json(ready_file)["port"])

    def _exit_error(self, name: str, status: int) -> UserError:
        path = self._log_dir / f"{name}.log"
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
        said = lines[-1] if lines else "nothing"
        return UserError(f"{name} ended with {status}; the last it said: {said}", f"see {path}")


def deploy(run: FederatedRun, log_dir: Path) -> None:
    """Runs a federation on the engine that its configuration names; the ServerApp is in this process.

    Args:
        run: the federation.
        logs: a folder for what SuperLink and SuperNodes say.

    Raises:
        UserError: what stopped the federation.
    """
    import httpx

    from blossomtune.deployment.flower_run import run_session
    from blossomtune.federation.server.server_app import run_federation

    # The nodes of a cluster share the working directory, and nothing else that we know of.
    shared = run.paths.checkpoints.parent if run.spec.federation.engine.name == "slurm" else None
    with start_reaper(shared) as folder:
        scratch = Path(folder)
        deployment = Deployment(run, _create_backend(run, log_dir, scratch), scratch, log_dir)
        with deployment.start_superlink() as socket:
            try:
                with run_session(socket, deployment.public_keys, deployment.restart_supernodes) as (
                    grid,
                    owners,
                ):
                    deployment.start_supernodes()
                    run_federation(grid, run, owners)
            except httpx.TransportError:
                deployment.wait_for_failures()  # the SuperLink may have ended just now
                raise


def _create_backend(run: FederatedRun, log_dir: Path, scratch_dir: Path) -> Backend:
    engine = run.spec.federation.engine
    module = import_module(f"blossomtune.deployment.{engine.name}")
    return getattr(module, BACKENDS[engine.name])(log_dir, scratch_dir, engine)

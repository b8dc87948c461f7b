"""Run a federation on a SuperLink and SuperNodes of a backend."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.config.engines import SlurmEngine
from blossomtune.deployment.backend import SUPERLINK, Backend, ProcessSpec
from blossomtune.deployment.gpu_allocation import assign_gpus
from blossomtune.deployment.keys import KeyStore
from blossomtune.deployment.reaper import start_reaper
from blossomtune.errors import UserError
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.run_identity import build_run_identity
from blossomtune.files import read_json
from blossomtune.gpus import list_visible_gpus
from blossomtune.training.checkpoints import CheckpointStore

logger = logging.getLogger(__name__)

START_TIMEOUT_SECONDS = 60
FAILURE_TIMEOUT_SECONDS, POLL_SECONDS = 3.0, 0.1

MAX_RESTARTS = 3
"""Number of times that a SuperNode is restarted before the run continues without it."""

BACKENDS = {
    "process": "ProcessBackend",
    "docker": "DockerBackend",
    "apptainer": "ApptainerBackend",
    "slurm": "SlurmBackend",
    "external": "ExternalBackend",
}
"""Class of each engine, in the module of that name.

Modules are imported by name, so that they do not count as code of the stage: where SuperNodes run
does not change the adapter.
"""


class Deployment:
    """SuperLink and SuperNodes of one run.

    Args:
        run: The run.
        backend: Backend that starts the processes.
        scratch_dir: Temporary folder of the run.
        log_dir: Folder for the processes' output.
    """

    def __init__(
        self, run: FederatedRun, backend: Backend, scratch_dir: Path, log_dir: Path
    ) -> None:
        self._run, self._backend = run, backend
        self._scratch_dir, self._log_dir = scratch_dir, log_dir
        self._run_file = scratch_dir / "run.json"
        spec, paths = run.spec, run.paths
        identity = build_run_identity(spec, paths, run.resources.device)
        checkpoints = CheckpointStore(paths.checkpoints, identity, RoundRecord)
        self._client_state_dir = checkpoints.folder / "clients"
        self._restarts_left = dict.fromkeys(range(len(spec.clients)), MAX_RESTARTS)
        self._specs: dict[str, ProcessSpec] = {}
        self._keys: KeyStore | None = None
        self._key_names: Sequence[str | int] = range(len(spec.clients))
        if spec.federation.tls:
            self._keys = KeyStore(backend.key_dir or scratch_dir / "keys")
        if backend.key_dir:
            self._key_names = [client.name for client in spec.clients]

    @property
    def key_files(self) -> list[Path]:
        """Files of the SuperNodes' public keys, by client; empty without authentication."""
        if self._keys is None:
            return []
        return [self._keys.supernode_public_key(name) for name in self._key_names]

    @contextmanager
    def start_superlink(self) -> Iterator[Path]:
        """Start the SuperLink; stop all processes on exit.

        Missing keys are created, and the backend's own certificates are renewed before they expire.

        Yields:
            The SuperLink's socket.

        Raises:
            UserError: If the SuperLink does not start, or the clients do not fit on the GPUs.
        """
        self._log_dir.mkdir(parents=True, exist_ok=True)
        for log in self._log_dir.glob("*.log"):
            log.unlink()
        self._run.redact_for_clients().save(self._run_file)
        with self._backend:
            self._gpu_indices = self._assign_gpus()
            if self._keys:
                self._keys.create_missing([self._backend.host], self._key_names)
            superlink = self._superlink_spec()
            self._start_process(superlink)
            port = self._wait_for_port(superlink.home / "superlink.json")
            self._superlink_address = f"{self._backend.host}:{port}"
            yield superlink.home / "superlink.sock"

    def start_supernodes(self) -> None:
        """Start the SuperNodes, after they have been registered: the SuperLink rejects others."""
        for client, gpu_indices in enumerate(self._gpu_indices):
            self._start_process(self._supernode_spec(client, gpu_indices))

    def restart_supernodes(self) -> dict[int, str]:
        """Restart SuperNodes that have ended.

        Returns:
            The errors of SuperNodes that failed permanently since the last call, by client.

        Raises:
            UserError: If the SuperLink has ended.
        """
        failures: dict[int, str] = {}
        for name, status in self._backend.poll_exit_statuses().items():
            error = self._exit_error(name, status)
            client = self._specs[name].client
            if client is None:
                raise error
            self._backend.stop(name)
            # without keys, nobody knows that the new node is the same client
            if self._keys is None or not self._restarts_left[client]:
                logger.warning("%s\n  it is gone", error)
                failures[client] = str(error)
                continue
            logger.warning("%s\n  it is started again", error)
            self._restarts_left[client] -= 1
            self._backend.start(self._specs[name])
        return failures

    def wait_for_failures(self) -> None:
        """Poll the processes for a few seconds; raise UserError if the SuperLink has ended."""
        end = time.monotonic() + FAILURE_TIMEOUT_SECONDS
        while time.monotonic() < end:
            self.restart_supernodes()
            time.sleep(POLL_SECONDS)

    def _assign_gpus(self) -> Sequence[tuple[int, ...]]:
        """Return the indices of each client's GPUs; all machines must have as many as this one."""
        num_clients, share = len(self._run.spec.clients), self._run.resources.gpus_per_client
        if not share:
            return [()] * num_clients
        return assign_gpus(num_clients, share, len(list_visible_gpus()), self._backend.num_machines)

    def _superlink_spec(self) -> ProcessSpec:
        keys, secrets = self._keys, []
        arguments = ["--host", self._backend.listen_address, "--port", str(self._backend.port)]
        if keys:
            arguments += ["--key-dir", str(keys.folder)]
            secrets = [keys.ca_certificate, keys.superlink_certificate, keys.superlink_key]
        home = self._scratch_dir / SUPERLINK
        return ProcessSpec(SUPERLINK, tuple(arguments), home, secret_paths=tuple(secrets))

    def _supernode_spec(self, client: int, gpu_indices: tuple[int, ...]) -> ProcessSpec:
        name, paths = f"supernode_{client}", self._run.paths
        arguments = ["--superlink", self._superlink_address, "--client", str(client)]
        arguments += ["--run", str(self._run_file)]
        secrets = [self._run_file]
        if self._keys:
            key = self._keys.supernode_key(self._key_names[client])
            arguments += ["--ca-certificate", str(self._keys.ca_certificate)]
            arguments += ["--private-key", str(key)]
            secrets += [self._keys.ca_certificate, key]
        state_dir = self._client_state_dir / str(client)
        return ProcessSpec(
            name,
            tuple(arguments),
            self._scratch_dir / name,
            readable_paths=(paths.model, *paths.preprocessed.glob(f"client_{client}.*arrow")),
            secret_paths=tuple(secrets),
            writable_paths=(state_dir,) if self._run.spec.has_client_state else (),
            gpu_indices=gpu_indices,
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
            time.sleep(POLL_SECONDS)
        return int(read_json(ready_file)["port"])

    def _exit_error(self, name: str, status: int) -> UserError:
        path = self._log_dir / f"{name}.log"
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
        output = lines[-1] if lines else "nothing"
        return UserError(f"{name} ended with {status}; the last it said: {output}", f"see {path}")


def deploy(run: FederatedRun, log_dir: Path) -> None:
    """Run a federation on the engine of its configuration, with the ServerApp in this process.

    Args:
        run: The run.
        log_dir: Folder for the output of SuperLink and SuperNodes.

    Raises:
        UserError: If SuperLink or SuperNodes fail.
    """
    import httpx

    from blossomtune.deployment.flower_run import run_session
    from blossomtune.federation.server.run_federation import run_federation

    # nodes of a cluster share the working directory, but not the system's temporary folder
    is_cluster = isinstance(run.spec.federation.engine, SlurmEngine)
    with start_reaper(run.paths.checkpoints.parent if is_cluster else None) as scratch:
        scratch_dir = Path(scratch)
        backend = _create_backend(run, log_dir, scratch_dir)
        deployment = Deployment(run, backend, scratch_dir, log_dir)
        with deployment.start_superlink() as socket:
            key_files = deployment.key_files
            session = run_session(socket, key_files, deployment.restart_supernodes)
            try:
                with session as (grid, owners, fingerprints):
                    deployment.start_supernodes()
                    run_federation(grid, run, owners, fingerprints)
            except httpx.TransportError as error:
                deployment.wait_for_failures()  # the SuperLink may have ended
                raise UserError(
                    f"the SuperLink does not answer any more: {error}",
                    f"see {log_dir / SUPERLINK}.log; the next run goes on after the last round",
                ) from None


def _create_backend(run: FederatedRun, log_dir: Path, scratch_dir: Path) -> Backend:
    engine = run.spec.federation.engine
    module = import_module(f"blossomtune.deployment.{engine.name}")
    backend: Backend = getattr(module, BACKENDS[engine.name])(log_dir, scratch_dir, engine)
    return backend

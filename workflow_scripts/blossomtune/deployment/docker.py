"""Run SuperLink and SuperNodes in Docker containers on the engine that DOCKER_HOST names.

A container sees its own folder and the files that it reads, but nothing else of this machine. It
has no capabilities, a read-only root file system, and a user that is not root. The SuperNodes'
network reaches the SuperLink only.
"""

import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container
from docker.types import DeviceRequest

from blossomtune.config.engines import DockerEngine
from blossomtune.deployment.backend import CODE_DIR, SUPERLINK, ProcessSpec
from blossomtune.deployment.docker_engine import (
    RUN_LABEL,
    STOP_TIMEOUT_SECONDS,
    connect_engine,
    remove_container,
    remove_run,
)
from blossomtune.deployment.reaper import on_exit
from blossomtune.errors import UserError
from blossomtune.gpus import list_visible_gpus

CONTAINER_USER_ID = 1000
"""User of the containers' processes if this process is root."""

POLL_INTERVAL_SECONDS = 1.0
"""Shortest time between two queries of the containers' states."""


class DockerBackend:
    """Backend that runs each process in a Docker container; see ``Backend``.

    Args:
        log_dir: Folder for the processes' output.
        scratch_dir: Folder of this run, which its reaper removes.
        engine: Image and limits.
    """

    listen_address: str = "0.0.0.0"  # noqa: S104 - in its container
    host: str = SUPERLINK
    port: int = 0
    key_dir: Path | None = None
    num_machines: int = 1

    def __init__(self, log_dir: Path, scratch_dir: Path, engine: DockerEngine) -> None:
        self._log_dir, self._scratch_dir, self._engine = log_dir, scratch_dir, engine
        self._run_id = scratch_dir.name  # unique
        self._containers: dict[str, Container] = {}
        self._log_threads: list[threading.Thread] = []
        self._last_poll = 0.0
        self._exit_statuses: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._client = connect_engine()
        image = self._engine.image
        try:
            self._client.images.get(image)
        except ImageNotFound as error:
            raise UserError(
                f"federation.engine.image: this Docker engine has no image {image!r}",
                f"docker build -f containers/Dockerfile -t {image} .",
            ) from error
        options = self._client.info().get("SecurityOptions") or []
        is_rootless = any("rootless" in option for option in options)
        self._needs_chown = os.getuid() == 0 and not is_rootless
        if self._needs_chown:
            self._user = f"{CONTAINER_USER_ID}:{CONTAINER_USER_ID}"
        else:
            self._user = "0:0" if is_rootless else f"{os.getuid()}:{os.getgid()}"
        on_exit(self._scratch_dir, [sys.executable, "-m", __spec__.name, self._run_id])
        self._network = f"blossomtune-{self._run_id}"
        labels = {RUN_LABEL: self._run_id}
        self._client.networks.create(self._network, internal=True, labels=labels)
        return self

    def __exit__(self, *_: object) -> None:
        remove_run(self._client, self._run_id)
        for thread in self._log_threads:
            thread.join(STOP_TIMEOUT_SECONDS)
        self._client.close()

    def start(self, spec: ProcessSpec) -> None:
        """Create and start a container; copy its output in a thread."""
        folders = (spec.home, *spec.writable_paths)
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        if self._needs_chown:
            for path in (*folders, *spec.secret_paths):
                os.chown(path, CONTAINER_USER_ID, CONTAINER_USER_ID)
            for path in spec.readable_paths:
                _require_world_readable(path)
        readable = (CODE_DIR, *spec.readable_paths, *spec.secret_paths)
        mounts = {str(path): {"bind": str(path), "mode": "ro"} for path in readable}
        mounts |= {str(path): {"bind": str(path), "mode": "rw"} for path in folders}
        endpoint = self._client.api.create_endpoint_config(aliases=[spec.name])
        container = self._client.containers.create(
            self._engine.image,
            ["python", *spec.python_arguments],
            name=f"blossomtune-{self._run_id}-{spec.name}",
            hostname=spec.name,
            network=self._network,
            networking_config={self._network: endpoint},
            labels={RUN_LABEL: self._run_id},
            environment=spec.environment,
            volumes=mounts,
            working_dir=str(spec.home),
            user=self._user,
            read_only=True,
            tmpfs={"/tmp": "mode=1777"},  # noqa: S108 - in the container
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            init=True,
            pids_limit=4096,
            device_requests=_device_requests(spec),
            healthcheck=_healthcheck(spec),
            **self._resource_limits(spec),
        )
        self._containers[spec.name] = container
        container.start()
        thread = threading.Thread(target=self._copy_log, args=(spec.name, container), daemon=True)
        thread.start()
        self._log_threads.append(thread)

    def _resource_limits(self, spec: ProcessSpec) -> dict[str, Any]:
        if spec.client is None:
            return {}
        limits: dict[str, Any] = {}
        if self._engine.cpus:
            limits["nano_cpus"] = int(self._engine.cpus * 1e9)
        if self._engine.memory_mb:
            limits["mem_limit"] = limits["memswap_limit"] = f"{self._engine.memory_mb}m"
        return limits

    def stop(self, name: str) -> None:
        """Stop a container and remove it."""
        container = self._containers.pop(name)
        self._exit_statuses.pop(name, None)
        remove_container(container)

    def poll_exit_statuses(self) -> Mapping[str, int]:
        """Return the exit statuses of containers that have ended by themselves, by name."""
        if time.monotonic() - self._last_poll >= POLL_INTERVAL_SECONDS:
            self._last_poll = time.monotonic()
            for name, container in self._containers.items():
                container.reload()
                if container.status in ("exited", "dead"):
                    self._exit_statuses[name] = int(container.attrs["State"]["ExitCode"])
        return dict(self._exit_statuses)

    def _copy_log(self, name: str, container: Container) -> None:
        with (
            (self._log_dir / f"{name}.log").open("ab", buffering=0) as log,
            suppress(DockerException),
        ):
            for line in container.logs(stream=True, follow=True):
                log.write(line)


def _require_world_readable(path: Path) -> None:
    for file in [path, *path.rglob("*")]:
        if not file.stat().st_mode & 0o004:
            raise UserError(
                f"{file} can be read by root alone, and containers run as user {CONTAINER_USER_ID}",
                f"chmod -R a+rX {path}; or run as another user than root",
            )


def _device_requests(spec: ProcessSpec) -> list[DeviceRequest]:
    if not spec.gpu_indices:
        return []
    gpus = list_visible_gpus()
    device_ids = [gpus[i] for i in spec.gpu_indices]
    return [DeviceRequest(device_ids=device_ids, capabilities=[["gpu"]])]


def _healthcheck(spec: ProcessSpec) -> dict[str, Any]:
    """Return Docker's check that the process's socket accepts connections; times in ns."""
    socket = spec.home / f"{spec.program}.sock"
    seconds = 10**9
    return {
        "test": ["CMD", "python", "-m", "blossomtune.deployment.healthcheck", str(socket)],
        "interval": 10 * seconds,
        "timeout": 5 * seconds,
        "start_period": 60 * seconds,
        "retries": 3,
    }


if __name__ == "__main__":  # run by the reaper
    remove_run(connect_engine(), sys.argv[1])

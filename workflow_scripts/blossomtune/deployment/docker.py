"""The docker engine: every part in a container of its own, by any engine that DOCKER_HOST names.

A container sees its own folder, the files that it reads, and nothing else of this machine; it has
no capabilities, a root file system that it cannot write to, and a user that is not root. SuperNodes
are on a network that leads to the SuperLink and nowhere else.
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
    _remove_container,
    connect_engine,
    remove_run,
)
from blossomtune.deployment.reaper import on_exit
from blossomtune.errors import UserError
from blossomtune.gpus import list_visible_gpus

CONTAINER_USER_ID = 1000
"""Who a container's processes are where this process is root."""


POLL_INTERVAL_SECONDS = 1.0
"""Containers are asked how they are no more often than that."""


class DockerBackend:
    """Parts as containers; see ``Runner``.

    Args:
        logs: a folder for what they say.
        scratch: a folder of this run, which its guard removes.
        engine: image and limits.
    """

    listen_address, host = "0.0.0.0", SUPERLINK  # noqa: S104 - of its container
    port, key_dir, num_machines = 0, None, 1

    def __init__(self, log_dir: Path, scratch_dir: Path, engine: DockerEngine) -> None:
        self._log_dir, self._scratch_dir, self._engine = log_dir, scratch_dir, engine
        self._run_id = scratch_dir.name  # which no other run has
        self._containers: dict[str, Container] = {}
        self._log_threads: list[threading.Thread] = []
        self._last_poll, self._exit_statuses = 0.0, {}

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
        rootless = any("rootless" in o for o in self._client.info().get("SecurityOptions") or [])
        self._needs_chown = (
            not os.getuid() and not rootless
        )  # files must be given to the container's user
        user = CONTAINER_USER_ID if self._needs_chown else 0 if rootless else os.getuid()
        self._user = f"{user}:{user if self._needs_chown or rootless else os.getgid()}"
        on_exit(self._scratch_dir, [sys.executable, "-m", __spec__.name, self._run_id])
        self._network = self._client.networks.create(
            f"blossomtune-{self._run_id}", internal=True, labels={RUN_LABEL: self._run_id}
        )
        return self

    def __exit__(self, *_: object) -> None:
        remove_run(self._client, self._run_id)
        for writer in self._log_threads:
            writer.join(STOP_TIMEOUT_SECONDS)
        self._client.close()

    def start(self, spec: ProcessSpec) -> None:
        """Starts a part."""
        folders = (spec.home, *spec.writable_paths)
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        if self._needs_chown:
            for path in (*folders, *spec.secret_paths):
                os.chown(path, CONTAINER_USER_ID, CONTAINER_USER_ID)
            for path in spec.readable_paths:
                _require_world_readable(path)
        reads = (CODE_DIR, *spec.readable_paths, *spec.secret_paths)
        mounts = {str(path): {"bind": str(path), "mode": "ro"} for path in reads}
        mounts |= {str(path): {"bind": str(path), "mode": "rw"} for path in folders}
        container = self._client.containers.create(
            self._engine.image,
            ["python", *spec.python_arguments],
            name=f"blossomtune-{self._run_id}-{spec.name}",
            hostname=spec.name,
            network=self._network.name,
            networking_config={
                self._network.name: self._client.api.create_endpoint_config(aliases=[spec.name])
            },
            labels={RUN_LABEL: self._run_id},
            environment=spec.environment,
            volumes=mounts,
            working_dir=str(spec.home),
            user=self._user,
            read_only=True,
            tmpfs={"/tmp": "mode=1777"},  # noqa: S108 - of the container
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
        writer = threading.Thread(target=self._copy_log, args=(spec.name, container), daemon=True)
        writer.start()
        self._log_threads.append(writer)

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
        """Stops a part and removes its container."""
        container = self._containers.pop(name)
        self._exit_statuses.pop(name, None)
        _remove_container(container)

    def poll_exit_statuses(self) -> Mapping[str, int]:
        """The exit status of parts that have ended by themselves, by name."""
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
    if spec.gpu_index is None:
        return []
    return [DeviceRequest(device_ids=[list_visible_gpus()[spec.gpu_index]], capabilities=[["gpu"]])]


def _healthcheck(spec: ProcessSpec) -> dict[str, Any]:
    """Asks whether the part's socket takes connections."""
    socket = spec.home / f"{spec.name.partition('_')[0]}.sock"
    seconds = 10**9
    return {
        "test": ["CMD", "python", "-m", "blossomtune.deployment.healthcheck", str(socket)],
        "interval": 10 * seconds,
        "timeout": 5 * seconds,
        "start_period": 60 * seconds,
        "retries": 3,
    }


if __name__ == "__main__":  # for the guard: what a killed run has left
    remove_run(connect_engine(), sys.argv[1])
